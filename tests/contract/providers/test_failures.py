"""What every provider must do when a call goes wrong: a value that says what it means."""

from collections.abc import Mapping

import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamPiece
from services.dispatcher.ports import Provider
from shared.events.replies import ReplyDelta
from tests.contract.providers.builders import attempt, azure_secret, request, string_secret
from tests.contract.providers.conftest import ON_VERTEX, Wire
from tests.simulator.app import Simulator

_BEFORE_A_TOKEN = [
    ("400", 400, FailureClass.INVALID_REQUEST),
    ("401", 401, FailureClass.KEY_REFUSED),
    ("invalid", 401, FailureClass.KEY_REFUSED),
    ("402", 402, FailureClass.QUOTA_EXHAUSTED),
    ("403", 403, FailureClass.PERMISSION_DENIED),
    ("404", 404, FailureClass.MISCONFIGURED),
    ("408", 408, FailureClass.TIMED_OUT),
    ("429", 429, FailureClass.RATE_LIMITED),
    ("500", 500, FailureClass.PROVIDER_ERROR),
    ("502", 502, FailureClass.PROVIDER_ERROR),
    ("503", 503, FailureClass.PROVIDER_ERROR),
    ("quota", 429, FailureClass.QUOTA_EXHAUSTED),
    ("context", 400, FailureClass.CONTEXT_TOO_LONG),
    ("filter", 400, FailureClass.CONTENT_REFUSED),
    ("errorfirst", 200, FailureClass.PROVIDER_ERROR),
    ("garbage", 200, FailureClass.PROVIDER_ERROR),
    ("reset", None, FailureClass.UNREACHABLE),
]


@pytest.mark.parametrize(("marker", "status", "failure"), _BEFORE_A_TOKEN)
async def test_a_failure_says_what_it_means(
    wire: Wire, marker: str, status: int | None, failure: FailureClass
) -> None:
    plain = await wire.complete(marker)
    (streamed,) = await wire.stream(marker)
    if wire.slug == "anthropic" and marker == "quota":
        status = 400  # an empty balance is a bad request there
    if wire.slug == "google-vertex":
        status = ON_VERTEX.get(marker, status)
    if wire.native == "gemini" and marker == "filter":
        status = 200  # and says so in its feedback on the prompt
    for answer in (plain, streamed):
        assert isinstance(answer, ProviderFailure)
        assert (answer.failure, answer.status) == (failure, status)
        assert f"-{marker}-" not in (answer.raw or "")


async def test_a_rate_limit_says_when_to_come_back(wire: Wire) -> None:
    answer = await wire.complete("429")
    assert isinstance(answer, ProviderFailure)
    assert answer.retry_after_seconds == 2
    assert answer.raw is not None
    words = "resource exhausted" if wire.slug == "google-vertex" else "rate limit"
    assert words in answer.raw.lower()


async def test_a_model_that_is_not_there_is_a_misconfiguration(
    simulator: Simulator, providers: Mapping[str, Provider]
) -> None:
    path = "/openai/deployments/missing/chat/completions?api-version=2024-08-01-preview"
    for to, secret in (
        (attempt("openai", provider_model="missing-model"), string_secret()),
        (attempt("anthropic", provider_model="claude-missing"), string_secret()),
        (attempt("azure"), azure_secret(simulator.url + path)),
        (attempt("azure"), azure_secret(simulator.url + path.partition("?")[0])),
    ):
        answer = await providers[to.endpoint.provider].complete(to, secret, request())
        assert isinstance(answer, ProviderFailure)
        assert (answer.failure, answer.status) == (FailureClass.MISCONFIGURED, 404)


@pytest.mark.parametrize("marker", ["cut", "enddone"])
async def test_a_plain_answer_that_stops_half_way_is_no_answer(wire: Wire, marker: str) -> None:
    answer = await wire.complete(marker)
    assert isinstance(answer, ProviderFailure)
    assert answer.failure in {FailureClass.UNREACHABLE, FailureClass.PROVIDER_ERROR}


@pytest.mark.parametrize(("marker", "words"), [("cut", 3), ("enddone", 3), ("errorafter", 2)])
async def test_a_stream_that_fails_after_its_first_token_keeps_what_came(
    wire: Wire, marker: str, words: int
) -> None:
    *pieces, last = await wire.stream(marker, "hello words=9")
    assert len(_with_content(pieces)) == words
    assert isinstance(last, ProviderFailure)
    assert last.failure is FailureClass.STREAM_CUT


async def test_an_error_event_keeps_the_providers_own_words(wire: Wire) -> None:
    last = (await wire.stream("errorafter"))[-1]
    assert isinstance(last, ProviderFailure)
    words = {"anthropic": "Overloaded", "gemini": "Internal error"}
    expected = words.get(wire.native, "The server had an error")
    assert expected in (last.raw or "")


async def test_an_answer_above_the_limit_is_refused(wire: Wire) -> None:
    plain = await wire.complete("huge")
    streamed = (await wire.stream("huge"))[-1]
    for answer in (plain, streamed):
        assert isinstance(answer, ProviderFailure)
        assert answer.failure is FailureClass.PROVIDER_ERROR
        assert answer.code == "answer_too_large"


def _with_content(pieces: list[StreamPiece]) -> list[ReplyDelta]:
    return [
        piece
        for piece in pieces
        if isinstance(piece, ReplyDelta) and piece.choices[0].message.content
    ]
