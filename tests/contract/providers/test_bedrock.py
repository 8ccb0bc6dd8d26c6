"""Amazon Bedrock's adapter: both credentials, regions, every failure, and streams that go wrong."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import aioboto3
import msgspec
import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, StreamPiece, WholeReply
from services.dispatcher.outbound.providers.registry import open_providers
from services.dispatcher.ports import Provider, ProviderSecret
from shared.clock import SystemClock
from shared.events.credential_secrets import AwsSecret, BedrockApiKeySecret
from shared.events.replies import Message, ReasoningEncrypted, ReasoningText, ReplyDelta
from shared.events.usage import Usage
from shared.tasks import TaskScope
from tests.contract.egress.bedrock_stand_in import Frame
from tests.contract.providers.builders import attempt, request, string_secret
from tests.contract.providers.conftest import CLAUDE_AT_BEDROCK
from tests.contract.providers.handwritten import Handwritten
from tests.contract.providers.test_checks import attempt_of
from tests.simulator import bedrock_frames
from tests.simulator.app import Simulator
from tests.simulator.bedrock_auth import secret_of, token_of
from tests.simulator.scripts import Script, Status
from tests.simulator.usage import answer_text
from tests.support.wait_until import wait_until

TO = attempt(
    "amazon-bedrock",
    model="anthropic/claude-haiku-4.5",
    provider_model=CLAUDE_AT_BEDROCK,
    inference_profiles=("us", "eu", "global"),
)


def api_key(marker: str = "ok", region: str = "us-east-1") -> BedrockApiKeySecret:
    return BedrockApiKeySecret(api_key=f"ABSKkey-{region}-{marker}-98765432", region=region)


def aws(marker: str = "ok", region: str = "us-east-1", *, start: str = "AKIA") -> AwsSecret:
    key = f"{start}KEY-{marker}-987654"
    return AwsSecret(
        access_key_id=key,
        secret_access_key=secret_of(key),
        region=region,
        session_token=token_of(key) if start == "ASIA" else None,
    )


def temporary(marker: str = "ok", region: str = "us-east-1") -> AwsSecret:
    return aws(marker, region, start="ASIA")


EACH = pytest.mark.parametrize("secret_for", [api_key, aws, temporary])


@pytest.fixture
def bedrock(providers: Mapping[str, Provider]) -> Provider:
    return providers["amazon-bedrock"]


@pytest.fixture
async def by_hand(handwritten: Handwritten) -> AsyncIterator[Provider]:
    async with open_providers(
        endpoints={"amazon-bedrock": handwritten.url},
        egress_allow=frozenset({f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield opened["amazon-bedrock"]


async def _stream(
    provider: Provider, secret: ProviderSecret, text: str = "words=3", **fields: Any
) -> list[StreamPiece]:
    asked = request(text, stream=True, **fields)
    return [piece async for piece in provider.stream(TO, secret, asked)]


def _text(pieces: list[StreamPiece]) -> str:
    deltas = [piece.choices[0].message for piece in pieces if isinstance(piece, ReplyDelta)]
    return "".join(delta.content or "" for delta in deltas)


@EACH
async def test_every_form_of_credential_is_taken(
    bedrock: Provider, simulator: Simulator, secret_for: Any
) -> None:
    answer = await bedrock.complete(TO, secret_for(), request("words=3"))
    assert isinstance(answer, WholeReply), answer
    assert answer.choices[0].message.content == answer_text(3)
    pieces = await _stream(bedrock, secret_for())
    assert _text(pieces) == answer_text(3)
    assert pieces[-1] == StreamEnded(usage=Usage(prompt_tokens=4, completion_tokens=3))
    assert [call.outcome for call in simulator.calls.since()] == ["completed"] * 2


@EACH
@pytest.mark.parametrize(
    ("region", "prefix"),
    [("us-west-2", "us"), ("eu-central-1", "eu"), ("ap-south-1", "global"), ("ca-central-1", "us")],
)
async def test_a_model_is_called_under_the_profile_of_the_keys_region(
    bedrock: Provider, simulator: Simulator, secret_for: Any, region: str, prefix: str
) -> None:
    answer = await bedrock.complete(TO, secret_for(region=region), request())
    assert isinstance(answer, WholeReply), answer
    assert [call.model for call in simulator.calls.since()] == [f"{prefix}.{CLAUDE_AT_BEDROCK}"]


async def test_a_bearer_key_is_refused_in_a_region_that_is_not_its_own(bedrock: Provider) -> None:
    elsewhere = BedrockApiKeySecret(api_key=api_key().api_key, region="eu-west-1")
    answer = await bedrock.complete(TO, elsewhere, request())
    assert isinstance(answer, ProviderFailure)
    assert (answer.failure, answer.status) == (FailureClass.KEY_REFUSED, 403)


async def test_a_wrong_secret_or_token_is_the_keys_fault(bedrock: Provider) -> None:
    good = temporary()
    for wrong in (
        msgspec.structs.replace(good, secret_access_key="x" * 40),
        msgspec.structs.replace(good, session_token="another-token"),
        msgspec.structs.replace(good, session_token=None),
    ):
        answer = await bedrock.complete(TO, wrong, request())
        assert isinstance(answer, ProviderFailure)
        assert (answer.failure, answer.status) == (FailureClass.KEY_REFUSED, 403)


@EACH
@pytest.mark.parametrize(
    ("marker", "status", "failure"),
    [
        ("400", 400, FailureClass.INVALID_REQUEST),
        ("401", 403, FailureClass.KEY_REFUSED),
        ("invalid", 403, FailureClass.KEY_REFUSED),
        ("402", 400, FailureClass.QUOTA_EXHAUSTED),
        ("403", 403, FailureClass.PERMISSION_DENIED),
        ("404", 404, FailureClass.MISCONFIGURED),
        ("408", 408, FailureClass.TIMED_OUT),
        ("429", 429, FailureClass.RATE_LIMITED),
        ("500", 500, FailureClass.PROVIDER_ERROR),
        ("503", 503, FailureClass.PROVIDER_ERROR),
        ("context", 400, FailureClass.CONTEXT_TOO_LONG),
        ("filter", 400, FailureClass.CONTENT_REFUSED),
        ("garbage", 200, FailureClass.PROVIDER_ERROR),
        ("reset", None, FailureClass.UNREACHABLE),
    ],
)
async def test_every_failure_has_its_class(
    bedrock: Provider, secret_for: Any, marker: str, status: int | None, failure: FailureClass
) -> None:
    whole = await bedrock.complete(TO, secret_for(marker), request())
    (streamed,) = await _stream(bedrock, secret_for(marker))
    for answer in (whole, streamed):
        assert isinstance(answer, ProviderFailure)
        assert (answer.failure, answer.status) == (failure, status)
        assert f"-{marker}-" not in (answer.raw or "")


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("on_demand", FailureClass.MISCONFIGURED),
        ("not_ready", FailureClass.PROVIDER_ERROR),
        ("expired", FailureClass.KEY_REFUSED),
    ],
)
async def test_failures_that_only_a_name_tells_apart(
    bedrock: Provider, simulator: Simulator, code: str, failure: FailureClass
) -> None:
    simulator.scripts.put(api_key().api_key, Script([Status(status=400, code=code)]))
    answer = await bedrock.complete(TO, api_key(), request())
    assert isinstance(answer, ProviderFailure)
    assert answer.failure is failure


async def test_when_to_come_again_is_read(bedrock: Provider) -> None:
    answer = await bedrock.complete(TO, api_key("429"), request())
    assert isinstance(answer, ProviderFailure)
    assert answer.retry_after_seconds == 2
    assert answer.code == "ThrottlingException"


@EACH
async def test_the_permission_that_is_missing_is_named(
    by_hand: Provider, handwritten: Handwritten, secret_for: Any
) -> None:
    handwritten.status = 403
    handwritten.answer_headers = {"x-amzn-ErrorType": "AccessDeniedException:http://x/"}
    handwritten.pieces = [b'{"Message":"You are not authorized."}']
    whole = await by_hand.complete(TO, secret_for(), request())
    (streamed,) = await _stream(by_hand, secret_for())
    for answer, action in (
        (whole, "bedrock:InvokeModel)"),
        (streamed, "bedrock:InvokeModelWithResponseStream)"),
    ):
        assert isinstance(answer, ProviderFailure)
        assert answer.failure is FailureClass.PERMISSION_DENIED
        assert (answer.raw or "").startswith("You are not authorized.")
        assert (answer.raw or "").endswith(action)


@EACH
async def test_no_part_of_a_credential_comes_back(
    by_hand: Provider, handwritten: Handwritten, secret_for: Any
) -> None:
    secret = secret_for()
    parts = [
        value
        for name in secret.__struct_fields__
        if name != "region" and (value := getattr(secret, name))
    ]
    handwritten.status = 400
    handwritten.answer_headers = {"x-amzn-ErrorType": "ValidationException"}
    handwritten.pieces = [msgspec.json.encode({"message": f"you sent {' and '.join(parts)}"})]
    whole = await by_hand.complete(TO, secret, request())
    (streamed,) = await _stream(by_hand, secret)
    for answer in (whole, streamed):
        assert isinstance(answer, ProviderFailure)
        assert (answer.raw or "").startswith("you sent ")
        for part in parts:
            assert part not in str(answer)
            assert part[:16] not in str(answer)


async def test_a_region_without_the_model_is_not_called(
    bedrock: Provider, simulator: Simulator
) -> None:
    to = attempt("amazon-bedrock", provider_model="amazon.x", inference_profiles=("us",))
    answer = await bedrock.complete(to, api_key(region="eu-west-1"), request())
    assert isinstance(answer, ProviderFailure)
    assert (answer.failure, answer.code) == (FailureClass.MISCONFIGURED, "not_in_region")
    assert "eu-west-1" in (answer.raw or "")
    assert not simulator.calls.since()


@pytest.mark.parametrize(
    "secret",
    [
        string_secret(),
        BedrockApiKeySecret(api_key="ABSK\r\nX-Evil: 1", region="us-east-1"),
        BedrockApiKeySecret(api_key="", region="us-east-1"),
        AwsSecret(access_key_id="AKIA\n", secret_access_key="s", region="us-east-1"),
    ],
)
async def test_a_secret_of_another_form_is_not_sent(
    bedrock: Provider, simulator: Simulator, secret: ProviderSecret
) -> None:
    for answer in (
        await bedrock.complete(TO, secret, request()),
        (await _stream(bedrock, secret))[0],
        await bedrock.check(attempt_of("amazon-bedrock"), secret),
    ):
        assert isinstance(answer, ProviderFailure)
        assert answer.code == "credential_shape"
    assert not simulator.calls.since()


async def test_what_is_no_region_is_not_called(bedrock: Provider, simulator: Simulator) -> None:
    to = attempt("amazon-bedrock", provider_model="openai.gpt-oss-120b-1:0")
    secret = BedrockApiKeySecret(api_key="ABSKkey", region="us-east-1.evil.example")
    asked = request(stream=True)
    streamed = [piece async for piece in bedrock.stream(to, secret, asked)]
    for answer in (await bedrock.complete(to, secret, request()), *streamed):
        assert isinstance(answer, ProviderFailure)
        assert answer.code == "address_forbidden"
    assert not simulator.calls.since()


@EACH
async def test_a_check_asks_for_one_token_of_the_cheapest_model(
    bedrock: Provider, simulator: Simulator, secret_for: Any
) -> None:
    assert await bedrock.check(attempt_of("amazon-bedrock"), secret_for()) is None
    (call,) = simulator.calls.since()
    assert (call.model, call.streamed) == ("us.amazon.nova-micro-v1:0", False)
    assert call.usage is not None
    assert call.usage.completion_tokens == 1
    assert await bedrock.check(attempt_of("amazon-bedrock"), secret_for(region="sa-east-1")) is None
    # that there is no such model here is told to a key that was taken
    assert await bedrock.check(attempt_of("amazon-bedrock"), secret_for("404")) is None
    for marker, failure in (
        ("401", FailureClass.KEY_REFUSED),
        ("403", FailureClass.PERMISSION_DENIED),
        ("429", FailureClass.RATE_LIMITED),
        ("503", FailureClass.PROVIDER_ERROR),
    ):
        found = await bedrock.check(attempt_of("amazon-bedrock"), secret_for(marker))
        assert found is not None
        assert found.failure is failure


async def test_clients_are_made_once_and_sessions_never(
    bedrock: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def refuse(*_: object, **__: object) -> None:
        made.append("session")

    original = aioboto3.Session.client

    def counted(session: Any, *positional: Any, **named: Any) -> Any:
        made.append("client")
        return original(session, *positional, **named)

    monkeypatch.setattr(aioboto3.Session, "client", counted)  # no seam counts what a library does
    monkeypatch.setattr(aioboto3.Session, "__init__", refuse)
    async with TaskScope() as scope:
        calls = [
            scope.start(bedrock.complete(TO, aws(), request()), name="call") for _ in range(16)
        ]
        answers = [await call for call in calls]
    assert all(isinstance(answer, WholeReply) for answer in answers)
    assert made == ["client"]


async def test_a_link_is_left_to_the_next_provider(bedrock: Provider, simulator: Simulator) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    asked = request(messages=[{"role": "user", "content": [part]}])
    answer = await bedrock.complete(TO, api_key(), asked)
    assert isinstance(answer, ProviderFailure)
    assert answer.failure is FailureClass.UNSUPPORTED
    assert (answer.raw or "").startswith("messages[0].content[0]: ")
    assert not simulator.calls.since()


@EACH
async def test_thoughts_go_back_signed(bedrock: Provider, secret_for: Any) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    fields: dict[str, Any] = {"tools": tools, "reasoning": {"effort": "low"}, "max_tokens": 9000}
    pieces = await _stream(bedrock, secret_for(), "use the tool", **fields)
    deltas = [piece.choices[0].message for piece in pieces if isinstance(piece, ReplyDelta)]
    details = [each for delta in deltas for each in delta.reasoning_details or []]
    signature = next(
        each.signature
        for each in details
        if isinstance(each, ReasoningText) and each.signature is not None
    )
    (call,) = [call for delta in deltas for call in delta.tool_calls or [] if call.id is not None]
    assert {each.format for each in details} == {"anthropic-claude-v1"}
    said = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": call.id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "text": "weighing the question",
                "signature": signature,
                "format": "anthropic-claude-v1",
            },
            {"type": "reasoning.encrypted", "data": "aGVsbG8=", "format": "anthropic-claude-v1"},
            {"type": "reasoning.encrypted", "data": "not base64", "format": None},
            {"type": "reasoning.text", "text": "x", "signature": "y", "format": "google-gemini-v1"},
        ],
    }
    messages = [
        {"role": "user", "content": "use the tool"},
        said,
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    answer = await bedrock.complete(TO, secret_for(), request(messages=messages, **fields))
    assert isinstance(answer, WholeReply), answer


@EACH
async def test_leaving_a_stream_closes_it(
    bedrock: Provider, simulator: Simulator, secret_for: Any
) -> None:
    asked = request("words=500 pause_ms=20", stream=True)
    async with aclosing(bedrock.stream(TO, secret_for(), asked)) as pieces:
        await anext(pieces)
        await anext(pieces)
    await _gone(simulator)


@EACH
async def test_cancelling_a_call_that_hangs_closes_it(
    bedrock: Provider, simulator: Simulator, secret_for: Any
) -> None:
    async with TaskScope() as scope:
        call = scope.start(bedrock.complete(TO, secret_for("hang"), request()), name="call")
        await wait_until(lambda: [each.outcome for each in simulator.calls.since()] == ["running"])
        call.cancel()
        await _gone(simulator)


@EACH
async def test_cancelling_while_waiting_for_a_piece_closes_the_stream(
    bedrock: Provider, simulator: Simulator, secret_for: Any
) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        asked = request("words=500 pause_ms=20", stream=True)
        async with aclosing(bedrock.stream(TO, secret_for(), asked)) as pieces:
            async for _ in pieces:
                begun.set()

    async with TaskScope() as scope:
        call = scope.start(read(), name="call")
        await begun.wait()
        call.cancel()
        await _gone(simulator)


async def _gone(simulator: Simulator) -> None:
    await wait_until(
        lambda: [call.outcome for call in simulator.calls.since()] == ["client_gone"],
        deadline_seconds=2,
    )


_TEXT = Frame("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"hi"}}').encode()
_STOP = Frame("messageStop", b'{"stopReason":"end_turn"}').encode()
_USED = Frame("metadata", b'{"usage":{"inputTokens":2,"outputTokens":1,"totalTokens":3}}').encode()


def _exception(kind: str) -> bytes:
    return bedrock_frames.exception(kind, {"message": "it said"})


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("throttlingException", FailureClass.RATE_LIMITED),
        ("modelStreamErrorException", FailureClass.PROVIDER_ERROR),
        ("internalServerException", FailureClass.PROVIDER_ERROR),
        ("serviceUnavailableException", FailureClass.PROVIDER_ERROR),
        ("validationException", FailureClass.INVALID_REQUEST),
        ("exceptionOfTomorrow", FailureClass.PROVIDER_ERROR),
    ],
)
async def test_exceptions_in_a_stream(
    by_hand: Provider, handwritten: Handwritten, kind: str, failure: FailureClass
) -> None:
    handwritten.pieces = [_exception(kind)]
    (first,) = await _stream(by_hand, api_key())
    assert isinstance(first, ProviderFailure)
    assert (first.failure, first.status) == (failure, 200)
    if not kind.endswith("Tomorrow"):
        assert (first.code, first.raw) == (kind, "it said")
    handwritten.pieces = [_TEXT, _exception(kind)]
    *pieces, last = await _stream(by_hand, api_key())
    assert _text(pieces) == "hi"
    assert isinstance(last, ProviderFailure)
    assert last.failure is FailureClass.STREAM_CUT


async def test_an_exception_after_all_was_said_costs_nothing(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    handwritten.pieces = [_TEXT, _STOP, _exception("internalServerException")]
    assert (await _stream(by_hand, api_key()))[-1] == StreamEnded()


async def test_a_stream_without_its_stop_has_failed(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    for pieces, failure in (
        ([], FailureClass.PROVIDER_ERROR),
        ([_TEXT], FailureClass.STREAM_CUT),
        ([_TEXT, _USED], FailureClass.STREAM_CUT),
        ([_TEXT, _STOP[:-9]], FailureClass.STREAM_CUT),
    ):
        handwritten.pieces = pieces
        last = (await _stream(by_hand, api_key()))[-1]
        assert isinstance(last, ProviderFailure)
        assert (last.failure, last.code) == (failure, "ended_early")


async def test_a_frame_whose_checksum_is_wrong_is_not_believed(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    for place in (8, -1):
        broken = bytearray(_TEXT)
        broken[place] ^= 0xFF
        handwritten.pieces = [bytes(broken), _STOP, _USED]
        (only,) = await _stream(by_hand, api_key())
        assert isinstance(only, ProviderFailure)
        assert only.failure is FailureClass.PROVIDER_ERROR


async def test_usage_after_the_stop_ends_the_stream_and_its_connection_serves_again(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    handwritten.pieces = [_TEXT, _STOP, _USED]
    for _ in range(3):
        last = (await _stream(by_hand, api_key()))[-1]
        assert last == StreamEnded(usage=Usage(prompt_tokens=2, completion_tokens=1))
    assert len(handwritten.connections) == 1


async def test_hidden_thoughts_are_kept_as_they_are(
    by_hand: Provider, handwritten: Handwritten
) -> None:
    hidden = b'{"contentBlockIndex":0,"delta":{"reasoningContent":{"redactedContent":"aGVsbG8="}}}'
    handwritten.pieces = [Frame("contentBlockDelta", hidden).encode(), _TEXT, _STOP, _USED]
    first = (await _stream(by_hand, api_key()))[0]
    assert isinstance(first, ReplyDelta)
    kept = ReasoningEncrypted(data="aGVsbG8=", format="anthropic-claude-v1", index=0)
    assert first.choices[0].message == Message(reasoning_details=[kept])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"5",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"output":5,"stopReason":"end_turn"}',
        b'{"output":{"message":{"content":{"text":"x"}}},"stopReason":"end_turn"}',
        b'{"output":{"message":{"content":[{"text":5}]}},"stopReason":"end_turn"}',
        b'{"output":{"message":{"content":[{"text":"x"}]}},"stopReason":5}',
        b'{"output":{"message":{"content":[{"text":"x"}]}}}',
        b'{"output":{"message":{"content":[{"toolUse":[1]}]}},"stopReason":"tool_use"}',
    ],
)
async def test_a_body_of_another_shape_is_the_providers_error(
    by_hand: Provider, handwritten: Handwritten, body: bytes
) -> None:
    handwritten.answer_headers = {"Content-Type": "application/json"}
    handwritten.pieces = [body]
    answer = await by_hand.complete(TO, api_key(), request())
    assert isinstance(answer, ProviderFailure), answer
    assert (answer.failure, answer.status) == (FailureClass.PROVIDER_ERROR, 200)
    if body:
        for kind in ("contentBlockDelta", "metadata"):
            handwritten.pieces = [Frame(kind, body).encode()]
            last = (await _stream(by_hand, api_key()))[-1]
            assert isinstance(last, ProviderFailure)
            assert last.failure is FailureClass.PROVIDER_ERROR


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("of_tomorrow", "stop"),
    ],
)
async def test_stop_reasons_are_normalised_and_the_native_one_is_kept(
    by_hand: Provider, handwritten: Handwritten, native: str, reason: str
) -> None:
    handwritten.pieces = [
        _TEXT,
        Frame("messageStop", b'{"stopReason":"%s"}' % native.encode()).encode(),
    ]
    choices = [
        piece.choices[0]
        for piece in await _stream(by_hand, api_key())
        if isinstance(piece, ReplyDelta)
    ]
    assert (choices[-1].finish_reason, choices[-1].native_finish_reason) == (reason, native)
