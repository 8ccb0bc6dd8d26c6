"""A provider that goes silent is given up, and what that means depends on what came before."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, StreamPiece
from services.dispatcher.outbound.egress import open_egress
from services.dispatcher.outbound.providers.completions_client import CompletionsClient
from services.dispatcher.outbound.providers.openai_compatible import OpenAICompatible, ProviderRow
from services.dispatcher.outbound.providers.quirks import OPENAI
from shared.clock import SystemClock
from tests.contract.providers.builders import attempt, request, string_secret
from tests.contract.providers.handwritten import Handwritten

_CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
_STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
_DONE = b"data: [DONE]\n\n"


@pytest.fixture
async def provider(handwritten: Handwritten) -> AsyncIterator[OpenAICompatible]:
    handwritten.lingers_seconds = 60
    handwritten.answer_headers = {"Content-Type": "text/event-stream"}
    row = ProviderRow(slug="openai", name="OpenAI", base_url=handwritten.url, quirks=OPENAI)
    async with open_egress(allow=frozenset({f"127.0.0.1:{handwritten.port}"})) as egress:
        client = CompletionsClient(
            egress,
            SystemClock(),
            plain=aiohttp.ClientTimeout(total=0.3),
            stream=aiohttp.ClientTimeout(total=None, sock_read=0.3),
        )
        yield OpenAICompatible(row, client)


async def _last(provider: OpenAICompatible) -> StreamPiece:
    pieces = provider.stream(attempt(), string_secret(), request(stream=True))
    return [piece async for piece in pieces][-1]


async def test_a_plain_answer_that_never_ends_has_timed_out(
    provider: OpenAICompatible, handwritten: Handwritten
) -> None:
    handwritten.pieces = [b'{"choices":']
    answer = await provider.complete(attempt(), string_secret(), request())
    assert isinstance(answer, ProviderFailure)
    assert answer.failure is FailureClass.TIMED_OUT


async def test_a_stream_that_says_nothing_has_timed_out(
    provider: OpenAICompatible, handwritten: Handwritten
) -> None:
    handwritten.pieces = []
    last = await _last(provider)
    assert isinstance(last, ProviderFailure)
    assert last.failure is FailureClass.TIMED_OUT


async def test_a_stream_that_falls_silent_after_a_token_is_cut(
    provider: OpenAICompatible, handwritten: Handwritten
) -> None:
    handwritten.pieces = [_CHUNK]
    last = await _last(provider)
    assert isinstance(last, ProviderFailure)
    assert last.failure is FailureClass.STREAM_CUT


async def test_a_stream_that_lingers_after_everything_was_said_has_ended_well(
    provider: OpenAICompatible, handwritten: Handwritten
) -> None:
    handwritten.pieces = [_CHUNK, _STOP]
    assert isinstance(await _last(provider), StreamEnded)
    handwritten.pieces = [_CHUNK, _STOP, _DONE]
    assert isinstance(await _last(provider), StreamEnded)
