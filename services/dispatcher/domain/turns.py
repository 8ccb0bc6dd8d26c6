"""A conversation in alternating turns, as Anthropic, Bedrock and Gemini want it.

Consecutive messages of one side are one turn. What tools answered belongs to the user's side and
comes first in its turn, right behind the calls. System messages stand apart, wherever they were.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar, assert_never

from services.dispatcher.domain.conversation import (
    AssistantMessage,
    ConversationMessage,
    Part,
    SystemMessage,
    Text,
    ToolResult,
    UserMessage,
)

OPENING: Final = Text(text="Begin.")
"""What the user says when a conversation begins with the assistant, which these providers refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTurn:
    """What came from the user's side until the assistant spoke."""

    results: tuple[ToolResult, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantTurn:
    """What the assistant said until the user's side spoke; mostly one message."""

    messages: tuple[AssistantMessage, ...]


Turn: TypeAlias = UserTurn | AssistantTurn


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """`turns` alternate, beginning with the user; there is at least one."""

    system: tuple[Text, ...]
    turns: tuple[Turn, ...]


def in_turns(messages: tuple[ConversationMessage, ...]) -> Turns:
    """Put messages into turns. Empty texts are left out, and so is a turn of nothing else."""
    system: list[Text] = []
    turns: list[Turn] = []
    for message in messages:
        match message:
            case SystemMessage():
                system.extend(_not_empty(message.parts))
            case UserMessage():
                _add_user(turns, UserTurn(parts=_not_empty(message.parts)))
            case ToolResult():
                _add_user(turns, UserTurn(results=(message,)))
            case AssistantMessage():
                _add_assistant(turns, message)
            case _:
                assert_never(message)
    if not turns:
        # An instruction alone is a question all the same.
        return Turns(system=(), turns=(UserTurn(parts=tuple(system) or (OPENING,)),))
    if isinstance(turns[0], AssistantTurn):
        turns.insert(0, UserTurn(parts=(OPENING,)))
    return Turns(system=tuple(system), turns=tuple(turns))


def _add_user(turns: list[Turn], turn: UserTurn) -> None:
    if not turn.results and not turn.parts:
        return
    last = turns[-1] if turns else None
    if isinstance(last, UserTurn):
        turns[-1] = UserTurn(results=last.results + turn.results, parts=last.parts + turn.parts)
    else:
        turns.append(turn)


def _add_assistant(turns: list[Turn], message: AssistantMessage) -> None:
    said = AssistantMessage(
        parts=_not_empty(message.parts),
        tool_calls=message.tool_calls,
        reasoning=message.reasoning,
    )
    if not said.parts and not said.tool_calls:
        return
    last = turns[-1] if turns else None
    if isinstance(last, AssistantTurn):
        turns[-1] = AssistantTurn(messages=(*last.messages, said))
    else:
        turns.append(AssistantTurn(messages=(said,)))


_AnyPart = TypeVar("_AnyPart", bound=Part)


def _not_empty(parts: tuple[_AnyPart, ...]) -> tuple[_AnyPart, ...]:
    return tuple(part for part in parts if not isinstance(part, Text) or part.text.strip())
