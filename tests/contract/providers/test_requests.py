"""What goes over the connection, and what odd answers come to, written by hand."""

from collections.abc import Mapping

import msgspec
import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, StreamPiece, UsageSeen, WholeReply
from services.dispatcher.outbound.providers.openai_compatible import ProviderRow
from services.dispatcher.outbound.providers.registry import ROWS, SLUGS, open_providers
from services.dispatcher.ports import Provider, ProviderSecret
from shared.clock import SystemClock
from shared.events.credential_secrets import AZURE
from shared.events.replies import ReplyDelta
from shared.events.usage import Usage
from tests.contract.providers.builders import attempt, azure_secret, request, string_secret
from tests.contract.providers.handwritten import PATH, Handwritten

_WHOLE = (
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1}}'
)
_CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
_STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
_DONE = b"data: [DONE]\n\n"
_EVENTS = {"Content-Type": "text/event-stream"}


@pytest.fixture
def provider(providers: Mapping[str, Provider]) -> Provider:
    return providers["deepseek"]


async def _plain(
    provider: Provider, secret: ProviderSecret | None = None
) -> WholeReply | ProviderFailure:
    return await provider.complete(attempt("deepseek"), secret or string_secret(), request())


async def _stream(provider: Provider) -> list[StreamPiece]:
    pieces = provider.stream(attempt("deepseek"), string_secret(), request(stream=True))
    return [piece async for piece in pieces]


async def test_the_key_goes_into_its_header_and_nothing_else_is_told(
    provider: Provider, handwritten: Handwritten
) -> None:
    handwritten.pieces = [_WHOLE]
    reply = await _plain(provider, string_secret(" sk-test-key-0001\n"))
    assert isinstance(reply, WholeReply)
    (headers,) = handwritten.headers
    assert headers.keys() - {"Host", "Content-Length"} == {
        "Accept",
        "Accept-Encoding",
        "Authorization",
        "Content-Type",
        "User-Agent",
    }
    assert headers["Authorization"] == "Bearer sk-test-key-0001"
    assert headers["Content-Type"] == "application/json"
    assert handwritten.paths == [PATH]


async def test_azure_is_called_at_its_address_as_it_stands(
    providers: Mapping[str, Provider], handwritten: Handwritten
) -> None:
    handwritten.pieces = [_WHOLE]
    path = "/openai/deployments/our%20own/chat/completions?api-version=2024-05-01-preview&x=a%2Fb"
    secret = azure_secret(handwritten.url + path, "azure-key-0001", model_id="our own")
    to = attempt(AZURE, provider_model="our own")
    await providers[AZURE].complete(to, secret, request())
    handwritten.pieces = [_CHUNK, _STOP, _DONE]
    handwritten.answer_headers = _EVENTS
    pieces = [each async for each in providers[AZURE].stream(to, secret, request(stream=True))]
    assert isinstance(pieces[-1], StreamEnded)
    assert handwritten.paths == [path, path]
    assert handwritten.headers[0]["api-key"] == "azure-key-0001"
    assert "Authorization" not in handwritten.headers[0]
    plain, streamed = (msgspec.json.decode(body) for body in handwritten.bodies)
    assert plain["model"] == "our own"
    assert streamed["stream"] is True
    assert "stream_options" not in streamed


@pytest.mark.parametrize(
    "key", ["", "   ", "a\r\nX-Evil: 1", "a\x00b", "cl\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
async def test_a_key_that_fits_no_header_is_never_sent(
    provider: Provider, providers: Mapping[str, Provider], handwritten: Handwritten, key: str
) -> None:
    azure = azure_secret(handwritten.url + PATH, key)
    for answer in (
        await _plain(provider, string_secret(key)),
        await providers[AZURE].complete(attempt(AZURE), azure, request()),
    ):
        assert isinstance(answer, ProviderFailure)
        assert answer.failure is FailureClass.MISCONFIGURED
    assert not handwritten.bodies


async def test_a_secret_of_the_wrong_shape_is_never_sent(
    provider: Provider, providers: Mapping[str, Provider], handwritten: Handwritten
) -> None:
    azure = azure_secret(handwritten.url + PATH)
    other_model = attempt(AZURE, model="openai/gpt-5", provider_model="gpt-4o")
    other_deployment = attempt(AZURE, provider_model="another")
    for answer in (
        await _plain(provider, azure),
        await providers[AZURE].complete(attempt(AZURE), string_secret(), request()),
        await providers[AZURE].complete(other_model, azure, request()),
        await providers[AZURE].complete(other_deployment, azure, request()),
    ):
        assert isinstance(answer, ProviderFailure)
        assert answer.failure is FailureClass.MISCONFIGURED
    assert not handwritten.bodies


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/chat/completions",
        "https://169.254.169.254/chat/completions",
        "https://metadata.google.internal/chat/completions",
    ],
)
async def test_an_address_that_egress_forbids_is_a_misconfiguration(
    providers: Mapping[str, Provider], url: str
) -> None:
    answer = await providers[AZURE].complete(attempt(AZURE), azure_secret(url), request())
    assert answer == ProviderFailure(failure=FailureClass.MISCONFIGURED, code="address_forbidden")


async def test_a_redirect_is_not_followed(provider: Provider, handwritten: Handwritten) -> None:
    for status in (301, 302, 307, 308):
        handwritten.status = status
        handwritten.answer_headers = {"Location": handwritten.url + "/elsewhere"}
        answer = await _plain(provider)
        assert isinstance(answer, ProviderFailure)
        assert (answer.failure, answer.status) == (FailureClass.MISCONFIGURED, status)
    assert set(handwritten.paths) == {PATH}


async def test_cookies_are_not_kept(handwritten: Handwritten) -> None:
    handwritten.pieces = [_WHOLE]
    handwritten.answer_headers = {"Set-Cookie": "session=1; Path=/"}
    pair = f"localhost:{handwritten.port}"  # addresses in numbers get no cookies anyway
    async with open_providers(
        endpoints={"deepseek": f"http://{pair}"},
        egress_allow=frozenset({pair}),
        clock=SystemClock(),
    ) as opened:
        await _plain(opened["deepseek"])
        await _plain(opened["deepseek"])
    assert len(handwritten.headers) == 2
    assert all("Cookie" not in headers for headers in handwritten.headers)


async def test_an_answer_is_not_unfolded(provider: Provider, handwritten: Handwritten) -> None:
    handwritten.answer_headers = {"Content-Encoding": "gzip"}
    handwritten.pieces = [_WHOLE]
    # It says gzip and is none: whoever tried to unfold it would fail, we only read bytes.
    assert isinstance(await _plain(provider), WholeReply)


async def test_calls_one_after_another_share_a_connection(
    provider: Provider, handwritten: Handwritten
) -> None:
    handwritten.lingers_seconds = 0.005  # the end of the body comes a moment after its last bytes
    handwritten.answer_headers = _EVENTS
    handwritten.pieces = [_CHUNK, _STOP, _DONE]
    for _ in range(5):
        assert isinstance((await _stream(provider))[-1], StreamEnded)
    handwritten.answer_headers = {}
    handwritten.pieces = [_WHOLE]
    for _ in range(5):
        assert isinstance(await _plain(provider), WholeReply)
    handwritten.status = 429
    handwritten.pieces = [b"{}"]
    for _ in range(5):
        assert isinstance(await _plain(provider), ProviderFailure)
    assert len(handwritten.connections) == 1


async def test_a_whole_answer_to_a_call_for_a_stream_is_taken(
    provider: Provider, handwritten: Handwritten
) -> None:
    handwritten.answer_headers = {"Content-Type": "application/json; charset=utf-8"}
    handwritten.pieces = [_WHOLE]
    delta, seen, ended = await _stream(provider)
    assert isinstance(delta, ReplyDelta)
    assert delta.choices[0].message.content == "hi"
    used = Usage(prompt_tokens=2, completion_tokens=1)
    assert (seen, ended) == (UsageSeen(used), StreamEnded(usage=used))


async def test_an_error_that_answers_a_call_for_a_stream_as_json_is_read(
    provider: Provider, handwritten: Handwritten
) -> None:
    handwritten.answer_headers = {"Content-Type": "application/json"}
    handwritten.pieces = [b'{"error":{"code":"429","message":"slow down"}}']
    (failure,) = await _stream(provider)
    assert failure == ProviderFailure(
        failure=FailureClass.RATE_LIMITED, status=200, code="429", raw="slow down"
    )


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"choices":[]}', b"<html>", b"\xff", b"[" * 100_000]
)
async def test_a_body_that_is_no_completion_is_a_failure_of_the_provider(
    provider: Provider, handwritten: Handwritten, body: bytes
) -> None:
    handwritten.pieces = [body]
    answer = await _plain(provider)
    assert isinstance(answer, ProviderFailure)
    assert (answer.failure, answer.status) == (FailureClass.PROVIDER_ERROR, 200)


async def test_an_endless_error_page_says_no_more_than_its_status(
    provider: Provider, handwritten: Handwritten
) -> None:
    handwritten.status = 503
    handwritten.pieces = [b"x" * 65_536] * 40
    answer = await _plain(provider)
    assert answer == ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=503)


async def test_nobody_listening_is_unreachable() -> None:
    async with open_providers(
        endpoints={"openai": "http://127.0.0.1:1"},
        egress_allow=frozenset({"127.0.0.1:1"}),
        clock=SystemClock(),
    ) as opened:
        answer = await opened["openai"].complete(attempt(), string_secret(), request())
        (streamed,) = [
            piece async for piece in opened["openai"].stream(attempt(), string_secret(), request())
        ]
    assert answer == streamed == ProviderFailure(failure=FailureClass.UNREACHABLE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
async def test_every_row_can_be_pointed_elsewhere_and_called(
    handwritten: Handwritten, row: ProviderRow
) -> None:
    handwritten.pieces = [_WHOLE]
    async with open_providers(
        endpoints={row.slug: handwritten.url + "/base/"},
        egress_allow=frozenset({f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as opened:
        assert opened.keys() == SLUGS
        reply = await opened[row.slug].complete(attempt(row.slug), string_secret(), request())
    assert isinstance(reply, WholeReply)
    assert handwritten.paths == ["/base" + PATH]


@pytest.mark.parametrize(
    "endpoints",
    [{"nobody": "https://api.example.com"}, {"openai": "http://10.0.0.7/v1"}, {"openai": "x"}],
)
async def test_a_setting_that_cannot_work_is_refused_at_the_start(
    endpoints: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match=r"provider|base URL"):
        async with open_providers(
            endpoints=endpoints, egress_allow=frozenset(), clock=SystemClock()
        ):
            pass
