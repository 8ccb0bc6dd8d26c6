"""What is Vertex AI's alone: the strict simulator takes what is written, and odd answers are read."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import AnswerNamed, StreamEnded, StreamPiece, WholeReply
from services.dispatcher.outbound.providers.completions_client import Call
from services.dispatcher.outbound.providers.registry import open_providers
from services.dispatcher.outbound.providers.vertex.gemini_dialect import GeminiDialect
from services.dispatcher.ports import Provider
from shared.clock import SystemClock
from shared.events.replies import Message, ReasoningEncrypted, ReplyDelta
from shared.events.usage import Usage
from tests.contract.providers.builders import attempt, request, vertex_secret
from tests.contract.providers.conftest import Wire
from tests.contract.providers.handwritten import Handwritten
from tests.simulator.app import Simulator
from tests.simulator.gemini_models import GEMINIS
from tests.simulator.gemini_request import SIGNATURE
from tests.simulator.scripts import Script, Status
from tests.simulator.usage import THOUGHT, answer_text

_PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
_PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7").decode()
_CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
_TOOL = {"type": "function", "function": {"name": "weather", "parameters": _CITY}}
_TIME = {"type": "function", "function": {"name": "time", "description": "now"}}
_SCHEMA = {"type": "json_schema", "json_schema": {"schema": _CITY}}


@pytest.fixture
async def gemini(simulator: Simulator) -> AsyncIterator[Wire]:
    async with open_providers(
        endpoints={"google-vertex": simulator.url, "google-oauth": simulator.url + "/token"},
        egress_allow=frozenset({f"127.0.0.1:{simulator.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield Wire(
            provider=opened["google-vertex"], slug="google-vertex", url=simulator.url, api="gemini"
        )


@pytest.fixture
async def by_hand(simulator: Simulator, handwritten: Handwritten) -> AsyncIterator[Provider]:
    """Tokens come from the simulator, answers are written by hand."""
    handwritten.answer_headers = {"Content-Type": "text/event-stream"}
    async with open_providers(
        endpoints={"google-vertex": handwritten.url, "google-oauth": simulator.url + "/token"},
        egress_allow=frozenset({f"127.0.0.1:{simulator.port}", f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield opened["google-vertex"]


async def _ask(wire: Wire, model: str, **fields: Any) -> WholeReply | ProviderFailure:
    to = attempt("google-vertex", provider_model=model, api="gemini")
    return await wire.provider.complete(to, wire.secret(), request(**fields))


async def _stream(provider: Provider) -> list[StreamPiece]:
    to = attempt("google-vertex", provider_model="gemini-2.5-flash", api="gemini")
    asked = request(stream=True)
    return [each async for each in provider.stream(to, vertex_secret(), asked)]


def _event(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    body = {"candidates": [candidate], "responseId": "r1", **more}
    return b"data: " + msgspec.json.encode(body) + b"\r\n\r\n"


@pytest.mark.parametrize("model", GEMINIS)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 1.7, "top_p": 0.5, "top_k": 40, "max_tokens": 100_000_000, "seed": 7},
        {"seed": 2**40, "user": "u", "n": 2, "logit_bias": {"1": 1}},
        {"frequency_penalty": 1, "presence_penalty": 1, "logprobs": True, "top_logprobs": 3},
        {"reasoning": {"effort": "xhigh"}},
        {"reasoning": {"effort": "minimal"}, "max_tokens": 50},
        {"reasoning": {"max_tokens": 2000}, "max_tokens": 8000},
        {"reasoning": {"max_tokens": 1_000_000}},
        {"reasoning": {"enabled": False}},
        {"reasoning": {"exclude": True, "enabled": True}, "tools": [_TOOL, _TIME]},
        {"tools": [_TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        {
            "tools": [_TOOL, _TIME],
            "tool_choice": {"type": "function", "function": {"name": "time"}},
        },
        {"tool_choice": "auto"},
        {"tools": [_TOOL], "response_format": _SCHEMA},
        {"response_format": _SCHEMA},
        {"response_format": {"type": "json_object"}},
        {"stop": ["a", "b", "c", "d", "e", "f"]},
    ],
)
async def test_every_model_takes_what_is_written_for_it(
    gemini: Wire, model: str, fields: dict[str, Any]
) -> None:
    assert isinstance(await _ask(gemini, model, **fields), WholeReply)


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-flash-preview"])
@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "be kind"}],
        [{"role": "assistant", "content": "hello"}, {"role": "user", "content": "hi"}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}],
        [
            {"role": "developer", "content": "be kind"},
            {"role": "user", "content": "a"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "a.1", "function": {"name": "weather", "arguments": ""}},
                    {"id": "b:2", "function": {"name": "time", "arguments": '{"x": 1}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "a.1", "content": '{"sky": "blue"}'},
            {"role": "tool", "tool_call_id": "b:2", "content": "noon"},
            {"role": "user", "content": "so?"},
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": " "},
                    {"type": "image_url", "image_url": {"url": _PNG}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg?b=c"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": _PDF}},
                    {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
                    {"type": "text", "text": "sum up"},
                ],
            }
        ],
    ],
    ids=["system alone", "assistant first", "empty", "tools of another model", "media"],
)
async def test_conversations_of_every_order_are_taken(
    gemini: Wire, model: str, messages: list[dict[str, Any]]
) -> None:
    reply = await _ask(gemini, model, messages=messages)
    assert isinstance(reply, WholeReply), reply


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_signature_of_a_call_makes_the_round_trip(
    gemini: Wire, simulator: Simulator, *, streamed: bool
) -> None:
    to = attempt("google-vertex", provider_model="gemini-3.1-pro-preview", api="gemini")
    fields: dict[str, Any] = {"tools": [_TOOL, _TIME], "reasoning": {"effort": "high"}}
    asked = request("use the tools", stream=streamed, **fields)
    if streamed:
        pieces = [each async for each in gemini.provider.stream(to, gemini.secret(), asked)]
        messages = [each.choices[0].message for each in pieces if isinstance(each, ReplyDelta)]
    else:
        reply = await gemini.provider.complete(to, gemini.secret(), asked)
        assert isinstance(reply, WholeReply)
        assert reply.choices[0].finish_reason == "tool_calls"
        messages = [reply.choices[0].message]
    calls = [call for each in messages for call in each.tool_calls or []]
    details = [detail for each in messages for detail in each.reasoning_details or []]
    assert "".join(each.reasoning or "" for each in messages) == THOUGHT
    assert details[-1] == ReasoningEncrypted(
        id=calls[0].id, data=SIGNATURE, format="google-gemini-v1", index=1
    )
    assert len({call.id for call in calls}) == 2
    said = {
        "role": "assistant",
        "tool_calls": msgspec.to_builtins(calls),
        "reasoning_details": msgspec.to_builtins(details),
    }
    answers = [{"role": "tool", "tool_call_id": call.id, "content": "x"} for call in calls]
    history = [{"role": "user", "content": "use the tools"}, said, *answers]
    final = await gemini.provider.complete(to, gemini.secret(), request(messages=history, **fields))
    assert isinstance(final, WholeReply), final
    assert final.choices[0].message.content == answer_text(16)
    assert simulator.accounts.mints == 1


async def test_what_goes_back_is_what_was_signed(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    handwritten.pieces = [_event({"text": "ok"}, finish="STOP")]
    said = {
        "role": "assistant",
        "content": "text",
        "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": "{}"}}],
        "reasoning_details": [
            {"type": "reasoning.text", "text": "hm", "format": "google-gemini-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": "AA==", "format": "google-gemini-v1"},
            {
                "type": "reasoning.encrypted",
                "id": "c1",
                "data": "BB==",
                "format": "google-gemini-v1",
            },
            {"type": "reasoning.encrypted", "data": "CC==", "format": "anthropic-claude-v1"},
        ],
    }
    to = attempt("google-vertex", provider_model="gemini-3-flash-preview", api="gemini")
    history = [
        {"role": "user", "content": "a"},
        said,
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    await by_hand.complete(to, vertex_secret(), request(messages=history, tools=[_TOOL]))
    body = msgspec.json.decode(handwritten.bodies[0])
    assert body["contents"][1]["parts"] == [
        {"text": "text", "thoughtSignature": "AA=="},
        {"functionCall": {"name": "weather", "args": {}}, "thoughtSignature": "BB=="},
    ]
    assert handwritten.headers[0]["Authorization"].startswith("Bearer ya29.")
    assert handwritten.paths == [
        (
            "/v1/projects/my-project-123/locations/us-central1/publishers/google/models/"
            "gemini-3-flash-preview:generateContent"
        )
    ]
    assert b"PRIVATE KEY" not in handwritten.bodies[0]


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("OF_TOMORROW", "stop"),
    ],
)
async def test_finish_reasons_are_normalised_and_the_native_one_is_kept(
    by_hand: Provider, handwritten: Handwritten, native: str, reason: str
) -> None:
    handwritten.pieces = [_event({"text": "hi"}), _event(finish=native)]
    *pieces, ended = await _stream(by_hand)
    last = pieces[-1]
    assert isinstance(last, ReplyDelta)
    choice = last.choices[0]
    assert (choice.finish_reason, choice.native_finish_reason) == (reason, native)
    assert isinstance(ended, StreamEnded)


_BROKEN = b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\r\n\r\n'
_LIMITED = b'data: {"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}\r\n\r\n'
_BLOCKED = b'data: {"promptFeedback":{"blockReason":"SAFETY"}}\r\n\r\n'
_WORD = _event({"text": "hi"})


@pytest.mark.parametrize(
    ("events", "failure"),
    [
        ([_BROKEN], FailureClass.PROVIDER_ERROR),
        ([_LIMITED], FailureClass.RATE_LIMITED),
        ([_BLOCKED], FailureClass.CONTENT_REFUSED),
        ([_event(finish="MALFORMED_FUNCTION_CALL")], FailureClass.PROVIDER_ERROR),
        ([_WORD, _event(finish="UNEXPECTED_TOOL_CALL")], FailureClass.STREAM_CUT),
        ([_WORD, _BROKEN], FailureClass.STREAM_CUT),
        ([_WORD], FailureClass.STREAM_CUT),
        ([_WORD, b"data: {half\r\n\r\n"], FailureClass.STREAM_CUT),
        ([b"data: []\r\n\r\n"], FailureClass.PROVIDER_ERROR),
        ([b"data: " + b"[" * 100_000 + b"\r\n\r\n"], FailureClass.PROVIDER_ERROR),
        ([b'data: {"usageMetadata":{"promptTokenCount":1}}\r\n\r\n'], FailureClass.PROVIDER_ERROR),
        ([b""], FailureClass.PROVIDER_ERROR),
    ],
)
async def test_a_stream_that_does_not_come_to_its_end_has_failed(
    by_hand: Provider, handwritten: Handwritten, events: list[bytes], failure: FailureClass
) -> None:
    handwritten.pieces = events
    last = (await _stream(by_hand))[-1]
    assert isinstance(last, ProviderFailure)
    assert last.failure is failure


async def test_nothing_is_counted_twice(by_hand: Provider, handwritten: Handwritten) -> None:
    told = {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 7,
        "toolUsePromptTokenCount": 2,
        "totalTokenCount": 24,
    }
    handwritten.pieces = [_WORD, _event(finish="STOP", usageMetadata=told)]
    ended = (await _stream(by_hand))[-1]
    assert ended == StreamEnded(
        usage=Usage(prompt_tokens=12, completion_tokens=12, cached_tokens=4, reasoning_tokens=7)
    )


async def test_log_probabilities_come_in_openais_shape(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    chosen = {"token": "hi", "logProbability": -0.5}
    result = {"chosenCandidates": [chosen], "topCandidates": [{"candidates": [chosen]}]}
    body = msgspec.json.decode(_WORD.removeprefix(b"data: "))
    body["candidates"][0] |= {"finishReason": "STOP", "logprobsResult": result}
    handwritten.pieces = [b"data: " + msgspec.json.encode(body) + b"\r\n\r\n"]
    named, delta, *_ = await _stream(by_hand)
    assert named == AnswerNamed("r1")
    assert isinstance(delta, ReplyDelta)
    token = {"token": "hi", "logprob": -0.5, "bytes": [104, 105]}
    assert delta.choices[0].logprobs["content"] == [token | {"top_logprobs": [token]}]


async def test_excluded_thoughts_are_not_shown(gemini: Wire) -> None:
    reply = await gemini.complete(reasoning={"enabled": True, "exclude": True})
    assert isinstance(reply, WholeReply)
    assert reply.choices[0].message == Message(role="assistant", content=answer_text(3))


async def test_a_token_that_died_is_replaced_once_and_the_call_is_made_again(
    gemini: Wire, simulator: Simulator
) -> None:
    assert isinstance(await gemini.complete(), WholeReply)
    simulator.accounts.end_tokens()
    assert isinstance(await gemini.complete(), WholeReply)
    simulator.accounts.end_tokens()
    assert isinstance((await gemini.stream())[-1], StreamEnded)
    simulator.accounts.end_tokens()
    assert await gemini.provider.check(gemini.attempt(), gemini.secret()) is None
    assert simulator.accounts.mints == 4


async def test_a_token_that_is_refused_again_refuses_the_key(
    gemini: Wire, simulator: Simulator
) -> None:
    simulator.scripts.put(gemini.key(), Script([Status(status=401)]))
    plain, (streamed,) = await gemini.complete(), await gemini.stream()
    for answer in (plain, streamed):
        assert isinstance(answer, ProviderFailure)
        assert (answer.failure, answer.status) == (FailureClass.KEY_REFUSED, 401)
    assert len(simulator.calls.since()) == 4


async def test_a_key_that_google_does_not_know_is_refused_in_its_words(
    gemini: Wire, simulator: Simulator
) -> None:
    failure = await gemini.complete("invalid")
    assert failure == ProviderFailure(
        failure=FailureClass.KEY_REFUSED,
        status=400,
        code="invalid_grant",
        raw="Invalid grant: account not found",
    )
    assert not simulator.calls.since()


async def test_a_private_key_that_is_none_is_never_sent(gemini: Wire, simulator: Simulator) -> None:
    broken = vertex_secret(private_key="-----BEGIN PRIVATE KEY-----\nnope")
    failure = await gemini.provider.complete(gemini.attempt(), broken, request())
    assert isinstance(failure, ProviderFailure)
    assert failure.code == "credential_shape"
    assert simulator.accounts.mints == 0


async def test_a_model_that_the_region_does_not_serve_is_a_misconfiguration(
    gemini: Wire, simulator: Simulator
) -> None:
    refused = Status(status=400, code="failed_precondition")
    simulator.scripts.put(gemini.key(), Script([refused]))
    failure = await gemini.complete()
    assert isinstance(failure, ProviderFailure)
    assert (failure.failure, failure.status) == (FailureClass.MISCONFIGURED, 400)
    gone = gemini.attempt(provider_model="gemini-of-yesterday")
    failure = await gemini.provider.complete(gone, gemini.secret(), request())
    assert isinstance(failure, ProviderFailure)
    assert (failure.failure, failure.status) == (FailureClass.MISCONFIGURED, 404)


async def test_a_refused_permission_is_named(gemini: Wire) -> None:
    failure = await gemini.complete("403")
    assert isinstance(failure, ProviderFailure)
    assert failure.failure is FailureClass.PERMISSION_DENIED
    assert "aiplatform.endpoints.predict" in (failure.raw or "")


@pytest.mark.parametrize("body", [b"[", b"{}", b'{"access_token":"a\\nb","expires_in":1}', b"null"])
async def test_what_is_no_token_is_not_sent(
    simulator: Simulator, handwritten: Handwritten, body: bytes
) -> None:
    handwritten.pieces = [body]
    async with open_providers(
        endpoints={"google-vertex": simulator.url, "google-oauth": handwritten.url},
        egress_allow=frozenset({f"127.0.0.1:{simulator.port}", f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as opened:
        to = attempt("google-vertex", provider_model="gemini-2.5-flash", api="gemini")
        failure = await opened["google-vertex"].complete(to, vertex_secret(), request())
    assert isinstance(failure, ProviderFailure)
    assert failure.code == "not_a_token"
    assert not simulator.calls.since()


async def test_neither_key_nor_token_is_repeated_by_an_error(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    key = vertex_secret().private_key
    handwritten.status = 400
    words = f"leaked {key} and ya29.by-hand"
    handwritten.pieces = [msgspec.json.encode({"error": {"code": 400, "message": words}})]
    (failure,) = await _stream(by_hand)
    assert isinstance(failure, ProviderFailure)
    assert not any(line in (failure.raw or "") for line in key.splitlines() if line)


async def test_a_model_of_other_regions_is_not_called(gemini: Wire, simulator: Simulator) -> None:
    to = gemini.attempt(regions=("global",))
    failure = await gemini.provider.complete(to, gemini.secret(), request())
    assert isinstance(failure, ProviderFailure)
    assert failure.failure is FailureClass.UNSUPPORTED
    assert "us-central1" in (failure.raw or "")
    assert not simulator.calls.since()


async def test_who_insists_on_parameters_is_served_by_models_that_take_them(gemini: Wire) -> None:
    for model, fields, served in (
        ("gemini-2.0-flash-001", {"frequency_penalty": 1}, True),
        ("gemini-2.5-flash", {"frequency_penalty": 1}, False),
        ("gemini-2.5-flash", {"reasoning": {"enabled": False}}, True),
        ("gemini-2.5-pro", {"reasoning": {"enabled": False}}, False),
        ("gemini-2.5-flash", {"tools": [_TOOL], "response_format": _SCHEMA}, False),
        ("gemini-3-flash-preview", {"tools": [_TOOL], "response_format": _SCHEMA}, True),
        ("gemini-2.5-flash", {"tools": [_TOOL], "parallel_tool_calls": False}, False),
    ):
        answer = await _ask(gemini, model, provider={"require_parameters": True}, **fields)
        assert isinstance(answer, WholeReply) == served, (model, fields)


async def test_an_image_of_no_known_type_is_told_with_its_place(
    gemini: Wire, simulator: Simulator
) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/picture"}}
    failure = await gemini.complete(messages=[{"role": "user", "content": [part]}])
    assert isinstance(failure, ProviderFailure)
    assert failure.failure is FailureClass.UNSUPPORTED
    assert (failure.raw or "").startswith("messages[0].content[0]: ")
    assert not simulator.calls.since()


def test_a_call_does_not_print_its_token() -> None:
    call = Call(
        url="https://x",
        hosts=frozenset(),
        headers={"Authorization": "Bearer ya29.secret"},
        body=b"",
        secret="ya29.secret",
        dialect=GeminiDialect(excludes_reasoning=False),
        more_secrets=("key",),
    )
    assert "ya29" not in repr(call)
