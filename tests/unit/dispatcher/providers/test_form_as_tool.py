"""Answers whose form was asked for by a tool."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.conversation import Conversation, NamedTool, Refused
from services.dispatcher.domain.read_conversation import read_conversation
from services.dispatcher.domain.reply import StreamEnded, StreamPiece
from services.dispatcher.outbound.providers.form_as_tool import FormedEvents, form_as_tool, formed
from shared.events.replies import (
    Choice,
    FinishReason,
    FunctionCall,
    Message,
    ReplyDelta,
    ToolCall,
)
from tests.contract.providers.builders import request

_CITY = {"type": "object", "properties": {"city": {"type": "string"}}}


def _conversation(schema: object, name: str = "place") -> Conversation:
    form = {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}
    read = read_conversation(request(response_format=form))
    assert not isinstance(read, Refused)
    return read


def _call(index: int | None, arguments: str, call_id: str | None = None) -> Message:
    function = FunctionCall(name=None if call_id is None else "place", arguments=arguments)
    return Message(tool_calls=[ToolCall(index=index, id=call_id, function=function)])


class Told:
    """An answer whose events are its pieces."""

    def read(self, event: StreamPiece) -> list[StreamPiece]:
        return [event]

    def all_said(self) -> StreamEnded | None:
        return None


def _streamed(*messages: Message, finish: FinishReason) -> tuple[str, FinishReason | None]:
    reader = FormedEvents(Told())
    choices = [Choice(message=each) for each in messages]
    choices.append(Choice(message=Message(), finish_reason=finish, native_finish_reason="x"))
    pieces = [piece for each in choices for piece in reader.read(ReplyDelta(choices=[each]))]
    told = [choice for piece in pieces if isinstance(piece, ReplyDelta) for choice in piece.choices]
    assert not any(choice.message.tool_calls for choice in told)
    return "".join(choice.message.content or "" for choice in told), told[-1].finish_reason


def test_the_schema_becomes_the_one_tool_that_must_be_called() -> None:
    asked = form_as_tool(_conversation(_CITY, "a place!"))
    assert asked is not None
    (tool,) = asked.tools
    assert asked.tool_choice == NamedTool("a_place_")
    assert (tool.name, asked.answer_format) == ("a_place_", "text")
    assert msgspec.json.decode(tool.parameters or b"") == _CITY


@pytest.mark.parametrize("schema", [{"type": "array"}, {"type": "string"}])
def test_what_is_no_object_is_no_input(schema: object) -> None:
    assert form_as_tool(_conversation(schema)) is None


@given(st.lists(st.text("{}a", min_size=1), min_size=1))
def test_a_stream_says_what_the_tool_is_called_with(pieces: list[str]) -> None:
    calls = [_call(0, "", "call_1"), *(_call(0, piece) for piece in pieces)]
    assert _streamed(*calls, finish="tool_calls") == ("".join(pieces), "stop")


def test_nothing_stands_beside_the_json() -> None:
    chatter = Message(content="Here it is:")
    second = _call(1, '{"city":"birch"}', "call_2")
    said = _streamed(chatter, _call(0, '{"city":"amber"}', "call_1"), second, finish="tool_calls")
    assert said == ('{"city":"amber"}', "stop")


def test_what_was_said_without_a_call_is_told_at_the_end() -> None:
    words = (Message(content="I would "), Message(content="rather not"))
    assert _streamed(*words, finish="content_filter") == ("I would rather not", "content_filter")


def test_a_call_that_was_cut_off_says_so() -> None:
    assert _streamed(_call(0, '{"ci', "call_1"), finish="length") == ('{"ci', "length")


def test_a_whole_answer_is_what_the_tool_was_called_with() -> None:
    message = Message(role="assistant", content="Here:", tool_calls=_call(None, "{}").tool_calls)
    whole = formed(Choice(message=message, finish_reason="tool_calls", native_finish_reason="x"))
    assert whole.message == Message(role="assistant", content="{}")
    assert (whole.finish_reason, whole.native_finish_reason) == ("stop", "x")
    said = Choice(message=Message(role="assistant", content="no"), finish_reason="stop")
    assert formed(said) == said
