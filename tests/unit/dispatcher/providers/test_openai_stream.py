"""Streams: what is passed on, and what counts as a proper end."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import AnswerNamed, StreamEnded, StreamPiece, UsageSeen
from services.dispatcher.outbound.providers import quirks
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.openai_stream import CompletionChunks
from services.dispatcher.outbound.providers.streamed_answer import SentEvents
from shared.events.replies import Choice, FunctionCall, Message, ReplyDelta, ToolCall
from shared.events.usage import Usage

_DONE = b"data: [DONE]\n\n"
_ROLE = {"delta": {"role": "assistant", "content": "", "refusal": None}}
_WORD = {"delta": {"content": "amber"}}
_STOP = {"delta": {}, "finish_reason": "stop"}
_ERROR = {"error": {"message": "overloaded", "type": "server_error", "code": None}}
_USAGE = {"prompt_tokens": 5, "completion_tokens": 1}
_USED = Usage(prompt_tokens=5, completion_tokens=1)


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def _chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    whole = [
        {"index": index, "logprobs": None, "finish_reason": None, **choice}
        for index, choice in enumerate(choices)
    ]
    return _event({"id": "", "object": "chat.completion.chunk", "choices": whole, **more})


def _reader() -> SentEvents:
    return SentEvents(CompletionChunks(quirks.OPENAI, FailureReader("sk-secret-0001")))


def _read(*pieces: bytes) -> list[StreamPiece]:
    reader = _reader()
    read: list[StreamPiece] = []
    for piece in pieces:
        read += reader.feed(piece)
        if reader.ended:
            return read
    return read + reader.end()


def _last(*pieces: bytes) -> StreamPiece:
    return _read(*pieces)[-1]


def _failure(*pieces: bytes) -> FailureClass:
    last = _last(*pieces)
    assert isinstance(last, ProviderFailure)
    return last.failure


def _delta(message: Message, **choice: Any) -> ReplyDelta:
    return ReplyDelta(choices=[Choice(index=0, message=message, **choice)])


def test_a_stream_is_passed_on_in_order_and_ends_with_its_usage() -> None:
    tier = {"id": "chatcmpl-1", "service_tier": "default", "system_fingerprint": "fp"}
    assert _read(
        _chunk(_ROLE, usage=None, **tier),
        _chunk(_WORD, usage=None, **tier),
        _chunk(_STOP, usage=None, **tier),
        _chunk(usage=_USAGE, **tier),
        _DONE,
    ) == [
        AnswerNamed("chatcmpl-1"),
        _delta(Message(role="assistant", content="")),
        _delta(Message(content="amber")),
        _delta(Message(), finish_reason="stop", native_finish_reason="stop"),
        UsageSeen(_USED),
        StreamEnded(usage=_USED, service_tier="default", system_fingerprint="fp"),
    ]


@given(st.lists(st.integers(min_value=0), max_size=20))
def test_a_stream_reads_the_same_however_it_is_cut(places: list[int]) -> None:
    stream = _chunk(_ROLE) + b": ping\r\n\r\n" + _chunk(_WORD) + _chunk(_STOP) + _DONE
    edges = [0, *sorted(place % len(stream) for place in places), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    assert _read(*pieces) == _read(stream)


def test_pieces_of_tool_calls_keep_their_index() -> None:
    opening = {"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"a"'}}
    read = _read(
        _chunk({"delta": {"role": "assistant", "content": None, "tool_calls": [opening]}}),
        _chunk({"delta": {"tool_calls": [more]}}),
        _chunk({"delta": {}, "finish_reason": "tool_calls"}),
        _DONE,
    )
    first, second = read[0], read[1]
    assert isinstance(first, ReplyDelta)
    assert isinstance(second, ReplyDelta)
    assert first.choices[0].message.tool_calls == [
        ToolCall(index=0, id="c", type="function", function=FunctionCall(name="f", arguments=""))
    ]
    assert second.choices[0].message.tool_calls == [
        ToolCall(index=0, function=FunctionCall(arguments='{"a"'))
    ]


def test_tool_calls_without_an_index_are_told_apart_by_their_place() -> None:
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("a", "b")]
    read = _read(_chunk({"delta": {"tool_calls": calls}}), _DONE)
    first = read[0]
    assert isinstance(first, ReplyDelta)
    assert [call.index for call in first.choices[0].message.tool_calls or []] == [0, 1]


def test_an_empty_reason_is_none_yet() -> None:
    assert _failure(_chunk(_WORD | {"finish_reason": ""})) is FailureClass.STREAM_CUT


def test_azures_chunks_without_choices_or_delta_are_passed_over() -> None:
    filters = {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}
    read = _read(
        _event({"choices": [], "created": 0, "id": "", "model": "", "object": "", **filters}),
        _chunk(_WORD),
        _chunk({"content_filter_results": {}, "content_filter_offsets": {"check_offset": 0}}),
        _chunk(_STOP),
        _chunk({"content_filter_results": {}}),
        _DONE,
    )
    assert [type(piece) for piece in read] == [ReplyDelta, ReplyDelta, StreamEnded]


def test_usage_that_grows_with_each_chunk_is_told_each_time() -> None:
    grown = {"prompt_tokens": 5, "completion_tokens": 2}
    read = _read(_chunk(_WORD, usage=_USAGE), _chunk(_STOP, usage=grown), _DONE)
    assert [piece.usage for piece in read if isinstance(piece, UsageSeen)] == [
        _USED,
        Usage(prompt_tokens=5, completion_tokens=2),
    ]


def test_done_ends_a_stream_even_without_a_reason() -> None:
    assert isinstance(_last(_chunk(_WORD), _DONE), StreamEnded)


def test_a_reason_ends_a_stream_even_without_done() -> None:
    assert isinstance(_last(_chunk(_WORD), _chunk(_STOP)), StreamEnded)


def test_what_follows_done_is_not_read() -> None:
    assert isinstance(_last(_chunk(_WORD) + _DONE + _event(_ERROR)), StreamEnded)


def test_a_stream_that_just_ends_has_failed() -> None:
    assert _failure(_chunk(_ROLE), _chunk(_WORD)) is FailureClass.STREAM_CUT
    assert _failure(_chunk(_ROLE)) is FailureClass.PROVIDER_ERROR
    assert _failure() is FailureClass.PROVIDER_ERROR


def test_every_choice_must_have_come_to_its_end() -> None:
    both = _chunk(_WORD, _WORD)
    assert _failure(both, _chunk(_STOP)) is FailureClass.STREAM_CUT
    assert isinstance(_last(both, _chunk(_STOP, _STOP)), StreamEnded)


def test_done_alone_is_no_completion() -> None:
    assert _failure(_DONE) is FailureClass.PROVIDER_ERROR


def test_an_error_as_the_first_event_can_still_fall_back() -> None:
    assert _last(_event(_ERROR)) == ProviderFailure(
        failure=FailureClass.PROVIDER_ERROR, status=200, code="server_error", raw="overloaded"
    )
    assert _failure(_chunk(_ROLE), _event(_ERROR)) is FailureClass.PROVIDER_ERROR


def test_an_error_after_the_first_token_is_the_end() -> None:
    assert _last(_chunk(_WORD), _event(_ERROR)) == ProviderFailure(
        failure=FailureClass.STREAM_CUT, status=200, code="server_error", raw="overloaded"
    )


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"code": "429", "message": "slow down"}, FailureClass.RATE_LIMITED),
        ({"code": 401, "message": "no"}, FailureClass.KEY_REFUSED),
        ({"code": "context_length_exceeded", "message": "long"}, FailureClass.CONTEXT_TOO_LONG),
        ({"code": "insufficient_quota", "message": "money"}, FailureClass.QUOTA_EXHAUSTED),
        ("something went wrong", FailureClass.PROVIDER_ERROR),
        ({}, FailureClass.PROVIDER_ERROR),
        ([1], FailureClass.PROVIDER_ERROR),
    ],
)
def test_an_error_event_says_what_status_it_stands_for(error: Any, failure: FailureClass) -> None:
    assert _failure(_event({"error": error})) is failure


def test_an_error_may_stand_inside_a_choice() -> None:
    broken = {"delta": {}, "error": {"code": 502, "message": "x"}, "finish_reason": "error"}
    assert _failure(_chunk(broken)) is FailureClass.PROVIDER_ERROR
    assert _failure(_chunk(_WORD), _chunk(broken)) is FailureClass.STREAM_CUT


def test_giving_up_is_no_way_to_finish() -> None:
    gave_up = {"delta": {}, "finish_reason": "insufficient_system_resource"}
    assert _failure(_chunk(_WORD), _chunk(gave_up)) is FailureClass.STREAM_CUT


def test_a_null_error_is_none() -> None:
    assert isinstance(_last(_chunk(_WORD, error=None), _chunk(_STOP), _DONE), StreamEnded)


@pytest.mark.parametrize(
    "garbage",
    [
        b"<html><body>proxy</body></html>",
        b"data: <html>\n\n",
        b'data: {"choices": [{"delta": {"content": 1}}]}\n\n',
        b"data: []\n\n",
        b"data: \xff\xfe\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: " + b"x" * 2_000_000 + b"\n\n",
    ],
)
def test_garbage_is_a_failure_and_never_an_exception(garbage: bytes) -> None:
    assert _failure(garbage) is FailureClass.PROVIDER_ERROR
    assert _failure(_chunk(_WORD), garbage) is FailureClass.STREAM_CUT


def test_a_connection_that_breaks_after_everything_was_said_does_no_harm() -> None:
    broken = ProviderFailure(failure=FailureClass.UNREACHABLE)
    reader = _reader()
    reader.feed(_chunk(_WORD) + _chunk(_STOP) + _chunk(usage=_USAGE))
    assert reader.break_off(broken) == StreamEnded(usage=_USED)
    early = _reader()
    early.feed(_chunk(_ROLE))
    assert early.break_off(broken) == broken


@pytest.mark.parametrize("told", ["", 7, None, ["x"], "x" * 257, "two\nlines", "ünprintable"])
def test_what_is_no_id_names_no_answer_and_fails_none(told: Any) -> None:
    read = _read(_chunk(_WORD, id=told), _chunk(_STOP, id=told), _DONE)
    assert [type(piece) for piece in read] == [ReplyDelta, ReplyDelta, StreamEnded]


def test_an_answer_is_named_once_by_the_first_id_that_it_tells() -> None:
    read = _read(_chunk(_ROLE), _chunk(_WORD, id="a"), _chunk(_STOP, id="b"), _DONE)
    assert [piece for piece in read if isinstance(piece, AnswerNamed)] == [AnswerNamed("a")]
