"""Alternating turns, whatever order the messages came in."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.conversation import (
    AssistantMessage,
    ConversationMessage,
    SystemMessage,
    Text,
    ToolResult,
    UserMessage,
)
from services.dispatcher.domain.turns import OPENING, AssistantTurn, UserTurn, in_turns

_TEXTS = st.sampled_from(["", " ", "a", "b"]).map(lambda text: (Text(text=text),))
_MESSAGES: st.SearchStrategy[ConversationMessage] = st.one_of(
    _TEXTS.map(lambda parts: SystemMessage(parts=parts)),
    _TEXTS.map(lambda parts: UserMessage(parts=parts)),
    _TEXTS.map(lambda parts: AssistantMessage(parts=parts)),
    _TEXTS.map(lambda parts: ToolResult(tool_call_id="c", parts=parts)),
)


@given(st.lists(_MESSAGES, max_size=8).map(tuple))
def test_turns_alternate_and_nothing_that_was_said_is_lost(
    messages: tuple[ConversationMessage, ...],
) -> None:
    found = in_turns(messages)
    assert isinstance(found.turns[0], UserTurn)
    sides = [isinstance(turn, UserTurn) for turn in found.turns]
    assert all(one != other for one, other in pairwise(sides))
    said = sum(
        isinstance(message, ToolResult) or bool(message.parts[0].text.strip())  # type: ignore[union-attr] # all are texts
        for message in messages
    )
    kept = len(found.system) + sum(
        len(turn.results) + len([part for part in turn.parts if part is not OPENING])
        if isinstance(turn, UserTurn)
        else len(turn.messages)
        for turn in found.turns
    )
    assert kept == said


def test_what_tools_answered_comes_before_what_the_user_said() -> None:
    result = ToolResult(tool_call_id="c", parts=(Text(text="r"),))
    (turn,) = in_turns((UserMessage(parts=(Text(text="u"),)), result)).turns
    assert turn == UserTurn(results=(result,), parts=(Text(text="u"),))


def test_an_instruction_alone_is_the_users_turn() -> None:
    found = in_turns((SystemMessage(parts=(Text(text="say hi"),)),))
    assert (found.system, found.turns) == ((), (UserTurn(parts=(Text(text="say hi"),)),))


def test_a_conversation_that_the_assistant_begins_is_opened() -> None:
    greeting = AssistantMessage(parts=(Text(text="hello"),))
    found = in_turns((greeting,))
    assert found.turns == (UserTurn(parts=(OPENING,)), AssistantTurn(messages=(greeting,)))
