"""What is Anthropic's alone: the strict simulator takes what is written, and odd streams are read."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, StreamPiece, WholeReply
from services.dispatcher.outbound.providers.registry import open_providers
from services.dispatcher.ports import Provider
from shared.clock import SystemClock
from shared.events.replies import Message, ReasoningEncrypted, ReasoningText, ReplyDelta
from shared.events.usage import Usage
from tests.contract.providers.builders import attempt, request, string_secret
from tests.contract.providers.conftest import Wire
from tests.contract.providers.handwritten import Handwritten
from tests.simulator.anthropic_messages import REDACTED, SIGNATURE
from tests.simulator.anthropic_models import MODELS
from tests.simulator.app import Simulator
from tests.simulator.usage import THOUGHT, answer_text

_PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7").decode()
_TEXT = "data:text/plain;base64," + base64.b64encode(b"notes").decode()
_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "minLength": 1}},
        },
    },
}
_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "schema": {
            "type": "object",
            "properties": {
                "days": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"high": {"type": "integer", "maximum": 60}},
                    },
                }
            },
        }
    },
}
_EVENTS = {"Content-Type": "text/event-stream"}
_START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message",'
    b'"content":[],"usage":{"input_tokens":3,"cache_read_input_tokens":4,'
    b'"cache_creation_input_tokens":5,"output_tokens":1}}}\n\n'
)
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_OVERLOADED = (
    b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
    b'"message":"Overloaded"}}\n\n'
)
_STOP = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":9}}\n\n'
)
_END = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def _block(kind: str, **fields: Any) -> bytes:
    name = f"content_block_{kind}"
    body = {"type": name, "index": 0, **fields}
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"


_WORD = _block("delta", delta={"type": "text_delta", "text": "hi"})


@pytest.fixture
async def wire(simulator: Simulator) -> AsyncIterator[Wire]:
    async with open_providers(
        endpoints={"anthropic": simulator.url},
        egress_allow=frozenset({f"127.0.0.1:{simulator.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield Wire(provider=opened["anthropic"], slug="anthropic", url=simulator.url)


@pytest.fixture
async def by_hand(handwritten: Handwritten) -> AsyncIterator[Provider]:
    handwritten.answer_headers = _EVENTS
    async with open_providers(
        endpoints={"anthropic": handwritten.url},
        egress_allow=frozenset({f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield opened["anthropic"]


async def _ask(wire: Wire, model: str, **fields: Any) -> WholeReply | ProviderFailure:
    to = attempt("anthropic", model=f"anthropic/{model}", provider_model=model)
    return await wire.provider.complete(to, wire.secret(), request(**fields))


async def _stream(provider: Provider, **fields: Any) -> list[StreamPiece]:
    asked = request(stream=True, **fields)
    return [each async for each in provider.stream(attempt("anthropic"), string_secret(), asked)]


def _deltas(pieces: list[StreamPiece]) -> list[Message]:
    return [piece.choices[0].message for piece in pieces if isinstance(piece, ReplyDelta)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 1.7, "top_p": 0.5, "top_k": 40, "max_tokens": 100_000_000},
        {"reasoning": {"effort": "xhigh"}, "temperature": 0.2},
        {"reasoning": {"effort": "minimal"}, "verbosity": "max"},
        {"reasoning": {"max_tokens": 2000}, "max_tokens": 8000},
        {"reasoning": {"effort": "low"}, "max_tokens": 10},
        {"reasoning": {"enabled": False}, "verbosity": "max"},
        {"reasoning": {"exclude": True, "enabled": True}, "tools": [_TOOL]},
        {"reasoning_effort": "high", "tools": [_TOOL], "tool_choice": "required"},
        {
            "tools": [_TOOL],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "parallel_tool_calls": False,
        },
        {"tool_choice": "auto", "parallel_tool_calls": False},
        {"response_format": _SCHEMA, "reasoning_effort": "high"},
        {"response_format": {"type": "json_object"}},
        {"stop": ["\n", "END"], "user": "u" * 300, "cache_control": {"type": "ephemeral"}},
        {"seed": 7, "logprobs": True, "frequency_penalty": 1, "n": 2, "service_tier": "default"},
    ],
)
async def test_every_model_takes_what_is_written_for_it(
    wire: Wire, model: str, fields: dict[str, Any]
) -> None:
    assert isinstance(await _ask(wire, model, **fields), WholeReply)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "be kind"}],
        [{"role": "assistant", "content": "hello"}, {"role": "user", "content": "hi"}],
        [{"role": "user", "content": "one"}, {"role": "user", "content": ["two"]}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "The answer is "}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}],
        [
            {"role": "user", "content": "a"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "a.1", "function": {"name": "f", "arguments": ""}},
                    {"id": "b:2", "function": {"name": "f", "arguments": '{"x": 1}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "a.1", "content": ""},
            {"role": "user", "content": "meanwhile"},
            {"role": "system", "content": "hurry"},
            {"role": "tool", "tool_call_id": "b:2", "content": [{"type": "text", "text": "2"}]},
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": " "},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": _PDF}},
                    {"type": "file", "file": {"file_data": _TEXT}},
                    {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}},
                    {"type": "text", "text": "sum up", "cache_control": {"type": "ephemeral"}},
                ],
            }
        ],
    ],
    ids=["system alone", "assistant first", "two users", "begun answer", "empty", "tools", "files"],
)
async def test_conversations_of_every_order_are_taken(
    wire: Wire, messages: list[dict[str, Any]]
) -> None:
    for message in messages:
        if message.get("content") == ["two"]:
            message["content"] = [{"type": "text", "text": "two"}]
    assert isinstance(await wire.complete(messages=messages), WholeReply)


@pytest.mark.parametrize("streamed", [False, True])
async def test_thoughts_and_their_signature_make_the_round_trip(
    wire: Wire, *, streamed: bool
) -> None:
    fields: dict[str, Any] = {"tools": [_TOOL], "reasoning": {"max_tokens": 2000}}
    if streamed:
        deltas = _deltas(await wire.stream(text="use the tool", **fields))
        thought = "".join(delta.reasoning or "" for delta in deltas)
        details = [each for delta in deltas for each in delta.reasoning_details or []]
        calls = [each for delta in deltas for each in delta.tool_calls or []]
        call = {"id": calls[0].id, "function": {"name": "weather", "arguments": "{}"}}
    else:
        reply = await wire.complete(text="use the tool", **fields)
        assert isinstance(reply, WholeReply)
        message = reply.choices[0].message
        thought, details = message.reasoning or "", message.reasoning_details or []
        call = msgspec.to_builtins((message.tool_calls or [])[0])
    assert thought == THOUGHT
    assert details[-1] == ReasoningText(
        text=None if streamed else THOUGHT,
        signature=SIGNATURE,
        format="anthropic-claude-v1",
        index=0,
    )
    said = {
        "role": "assistant",
        "content": None,
        "tool_calls": [call],
        "reasoning_details": [*msgspec.to_builtins(details), _foreign(), _unsigned()],
    }
    answered = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
    asked = {"role": "user", "content": "use the tool"}
    reply = await wire.complete(messages=[asked, said, answered], **fields)
    assert isinstance(reply, WholeReply), reply
    assert reply.choices[0].message.content == answer_text(16)


def _foreign() -> dict[str, Any]:
    """Signed by another provider, so that Anthropic would refuse it."""
    return {"type": "reasoning.encrypted", "data": "abc", "format": "google-gemini-v1", "index": 1}


def _unsigned() -> dict[str, Any]:
    return {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "index": 2}


async def test_a_redacted_thought_goes_back_as_it_came(
    wire: Wire, by_hand: Provider, handwritten: Handwritten
) -> None:
    redacted = {"type": "redacted_thinking", "data": REDACTED}
    handwritten.pieces = [_START, _block("start", content_block=redacted), _WORD, _STOP, _END]
    deltas = _deltas(await _stream(by_hand))
    (detail,) = deltas[0].reasoning_details or []
    assert detail == ReasoningEncrypted(data=REDACTED, format="anthropic-claude-v1", index=0)
    said = {
        "role": "assistant",
        "content": "hi",
        "reasoning_details": [msgspec.to_builtins(detail)],
    }
    more = {"role": "user", "content": "go on"}
    reply = await wire.complete(messages=[{"role": "user", "content": "a"}, said, more])
    assert isinstance(reply, WholeReply), reply


async def test_excluded_thoughts_are_paid_for_and_not_shown(wire: Wire) -> None:
    asked = {"enabled": True, "exclude": True}
    reply = await wire.complete(reasoning=asked)
    assert isinstance(reply, WholeReply)
    assert reply.choices[0].message == Message(role="assistant", content=answer_text(3))
    assert reply.usage is not None
    assert reply.usage.reasoning_tokens == 3
    for delta in _deltas(await wire.stream(reasoning=asked)):
        assert (delta.reasoning, delta.reasoning_details) == (None, None)


async def test_pings_and_what_nobody_knows_yet_are_passed_over(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    tomorrow = b'event: tomorrow\ndata: {"type":"tomorrow","delta":5}\n\n'.replace(b"5", b"{}")
    handwritten.pieces = [
        _PING,
        _START,
        _PING,
        tomorrow,
        _block("start", content_block={"type": "text", "text": ""}),
        _WORD,
        _block("delta", delta={"type": "citations_delta", "citation": {"cited_text": "x"}}),
        _block("stop"),
        _block("start", index=1, content_block={"type": "server_tool_use", "id": "s", "name": "w"}),
        _block("delta", index=1, delta={"type": "input_json_delta", "partial_json": "{}"}),
        _PING,
        _STOP,
        _END,
    ]
    pieces = await _stream(by_hand)
    assert [delta.content for delta in _deltas(pieces)] == ["hi", None]
    told = Usage(prompt_tokens=12, completion_tokens=9, cached_tokens=4, cache_write_tokens=5)
    assert pieces[-1] == StreamEnded(usage=told)


@pytest.mark.parametrize(
    ("events", "failure"),
    [
        ([_OVERLOADED], FailureClass.PROVIDER_ERROR),
        ([_START, _PING, _OVERLOADED], FailureClass.PROVIDER_ERROR),
        ([_START, _WORD, _OVERLOADED], FailureClass.STREAM_CUT),
        ([_START], FailureClass.PROVIDER_ERROR),
        ([_START, _WORD], FailureClass.STREAM_CUT),
        ([_START, _WORD, _END], FailureClass.STREAM_CUT),
        ([_START, _WORD, b"data: {half\n\n"], FailureClass.STREAM_CUT),
        (
            [_OVERLOADED.replace(b"overloaded_error", b"rate_limit_error")],
            FailureClass.RATE_LIMITED,
        ),
        (
            [_OVERLOADED.replace(b"overloaded_error", b"invalid_request_error")],
            FailureClass.INVALID_REQUEST,
        ),
    ],
)
async def test_a_stream_that_does_not_come_to_its_end_has_failed(
    by_hand: Provider, handwritten: Handwritten, events: list[bytes], failure: FailureClass
) -> None:
    handwritten.pieces = events
    last = (await _stream(by_hand))[-1]
    assert isinstance(last, ProviderFailure)
    assert last.failure is failure


async def test_a_stop_reason_is_an_end_though_the_last_event_is_lost(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    handwritten.pieces = [_START, _WORD, _STOP]
    assert isinstance((await _stream(by_hand))[-1], StreamEnded)


async def test_a_tool_call_without_input_is_called_with_an_empty_object(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    tool = {"type": "tool_use", "id": "t", "name": "now", "input": {}}
    handwritten.pieces = [_START, _block("start", content_block=tool), _block("stop"), _STOP, _END]
    calls = [each for delta in _deltas(await _stream(by_hand)) for each in delta.tool_calls or []]
    assert [call.function.arguments for call in calls if call.function] == ["", "{}"]


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("of_tomorrow", "stop"),
    ],
)
async def test_stop_reasons_are_normalised_and_the_native_one_is_kept(
    by_hand: Provider, handwritten: Handwritten, native: str, reason: str
) -> None:
    handwritten.pieces = [_START, _WORD, _STOP.replace(b"end_turn", native.encode()), _END]
    choices = [
        piece.choices[0] for piece in await _stream(by_hand) if isinstance(piece, ReplyDelta)
    ]
    assert (choices[-1].finish_reason, choices[-1].native_finish_reason) == (reason, native)


async def test_the_key_and_the_version_go_into_their_headers(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    await _stream(by_hand, reasoning={"enabled": True})
    (headers,), (body,) = handwritten.headers, handwritten.bodies
    assert headers["x-api-key"] == "sk-test-key-0001"
    assert headers["anthropic-version"] == "2026-10-21"
    assert "Authorization" not in headers
    assert handwritten.paths == ["/v1/messages"]
    assert b"sk-test" not in body


async def test_a_temperature_is_asked_for_in_the_version_that_knows_it(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    to = attempt("anthropic", provider_model="claude-haiku-4-5")
    await by_hand.complete(to, string_secret(), request(temperature=0.5))
    (headers,), (body,) = handwritten.headers, handwritten.bodies
    assert headers["anthropic-version"] == "2023-06-01"
    assert msgspec.json.decode(body)["temperature"] == 0.5


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}},
        {"type": "file", "file": {"file_data": "data:application/zip;base64,aGk="}},
    ],
)
async def test_what_it_cannot_take_is_told_with_its_place_and_never_sent(
    wire: Wire, simulator: Simulator, part: dict[str, Any]
) -> None:
    failure = await wire.complete(messages=[{"role": "user", "content": [part]}])
    assert isinstance(failure, ProviderFailure)
    assert (failure.failure, failure.status) == (FailureClass.UNSUPPORTED, None)
    assert (failure.raw or "").startswith("messages[0].content[0]: ")
    assert not simulator.calls.since()


async def test_bad_input_is_the_clients_and_never_sent(wire: Wire, simulator: Simulator) -> None:
    part = {"type": "image_url", "image_url": {"url": "http://10.0.0.1/a.png"}}
    failure = await wire.complete(messages=[{"role": "user", "content": [part]}])
    assert isinstance(failure, ProviderFailure)
    assert failure.failure is FailureClass.INVALID_REQUEST
    assert (failure.raw or "").startswith("messages[0].content[0].image_url.url: ")
    assert not simulator.calls.since()


@pytest.mark.parametrize(
    ("model", "fields", "served"),
    [
        ("claude-haiku-4-5-20251001", {"temperature": 1, "stop": "x"}, True),
        ("claude-haiku-4-5-20251001", {"seed": 1}, False),
        ("claude-sonnet-5", {"temperature": 1}, False),
        ("claude-sonnet-5", {"reasoning": {"enabled": False}}, True),
        ("claude-opus-5-5", {"reasoning": {"enabled": False}}, False),
        ("claude-opus-5-5", {"tools": [_TOOL], "tool_choice": "required"}, False),
        ("claude-3-haiku-20240307", {"response_format": _SCHEMA}, True),
        ("claude-3-haiku-20240307", {"response_format": _SCHEMA, "tools": [_TOOL]}, False),
    ],
)
async def test_who_insists_on_parameters_is_served_by_those_that_take_them(
    wire: Wire, model: str, fields: dict[str, Any], *, served: bool
) -> None:
    answer = await _ask(wire, model, provider={"require_parameters": True}, **fields)
    assert isinstance(answer, WholeReply) == served
    if isinstance(answer, ProviderFailure):
        assert answer.failure is FailureClass.UNSUPPORTED
    assert isinstance(await _ask(wire, model, **fields), WholeReply)
