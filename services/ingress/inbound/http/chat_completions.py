"""POST /chat/completions: plain and streamed.

A stream's headers are held back until its first frame, so that whatever fails before it is a real
HTTP status, upon which clients retry. That silence may end connections on the way: after
`headers_after_seconds` the headers go all the same, and comments keep the connection alive; what
fails from then on is an error chunk.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from services.ingress.domain import refusals
from services.ingress.domain.anthropic_betas import HEADER, read_betas
from services.ingress.domain.chat_request import ChatRequest, read_chat_request
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import openai_wire
from services.ingress.inbound.http.event_stream import DONE, KEEP_ALIVE, EventStream
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.inbound.http.generations import (
    WRITE_SECONDS_MAX,
    Answer,
    Generations,
    left,
    write,
)
from services.ingress.inbound.http.router_metadata import wants_metadata
from services.ingress.use_cases.complete_chat import Idle, Piece
from shared.clock import Clock
from shared.events.replies import ReplyFailed
from shared.telemetry.logging import get_logger
from shared.time_limit import TimeLimit

_KEEP_ALIVE_SECONDS: Final = 1.0
_STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """How streams are kept alive; see the module."""

    headers_after_seconds: float
    sends_keep_alive: bool


class ChatCompletions:
    """The handler."""

    def __init__(self, *, generations: Generations, streams: StreamSettings, clock: Clock) -> None:
        """`clock` says when a stream's chunks were created until the reply does."""
        self._generations = generations
        self._streams = streams
        self._clock = clock
        self._logger = get_logger("chat_completions")

    def create(self, exchange: Exchange) -> Awaitable[web.StreamResponse]:
        """Answer one request."""
        betas = read_betas(exchange.request.headers.getall(HEADER, []))
        return self._generations.answer(
            exchange, read_chat_request, self._write, anthropic_betas=betas
        )

    async def _write(self, answer: Answer[ChatRequest]) -> web.StreamResponse:
        if answer.request.is_streamed:
            return await self._stream(answer)
        completed = await self._generations.whole(answer)
        if isinstance(completed, web.Response):
            return completed
        return answer.exchange.raw(
            openai_wire.completion(
                answer.completion.generation_id,
                completed,
                openrouter_metadata=answer.metadata(completed, is_byok=completed.usage.is_byok),
            )
        )

    async def _stream(self, answer: Answer[ChatRequest]) -> web.StreamResponse:
        opened = await self._before_headers(answer)
        if isinstance(opened, web.Response):
            return opened
        response, piece = opened
        events = EventStream(
            answer.completion.generation_id,
            requested=answer.request.requested_models[0],
            created=int(self._clock.now().timestamp()),
            wants_metadata=wants_metadata(answer.exchange.request.headers),
        )
        self._generations.first_byte(answer)
        try:
            await self._pump(answer, response, events, piece)
        except (ConnectionError, TimeoutError):
            if answer.exchange.request.transport is not None:
                answer.exchange.request.transport.abort()
            _ = left(answer.exchange)
        except Exception:
            # the status is sent: the stream must say it
            answer.completion.fail("internal")
            answer.exchange.line.outcome = "failed"
            self._logger.exception("a stream failed")
            await write(response, events.failure(refusals.internal()) + DONE)
        return response

    async def _pump(
        self,
        answer: Answer[ChatRequest],
        response: web.StreamResponse,
        events: EventStream,
        first: Piece | None,
    ) -> None:
        """Write piece after piece until the end."""
        if first is None:
            await write(response, KEEP_ALIVE)
        piece: Piece | Refusal = first or await self._next_piece(answer, response)
        while isinstance(piece, Piece) and not piece.is_last:
            await write(response, events.encode(piece.parts))
            piece = await self._next_piece(answer, response)
        if isinstance(piece, Refusal):
            answer.exchange.line.add(error_type=piece.error_type)
            answer.exchange.line.outcome = "failed"
            last = events.failure(piece)
        else:
            _note_end(answer, piece)
            last = events.encode(piece.parts)
        with TimeLimit(WRITE_SECONDS_MAX):
            await response.write_eof(last + DONE)

    async def _before_headers(
        self, answer: Answer[ChatRequest]
    ) -> tuple[web.StreamResponse, Piece | None] | web.Response:
        """Wait for the first piece; an error is still a status. None when headers go before it."""
        wait = self._streams.headers_after_seconds if self._streams.sends_keep_alive else None
        while True:
            match await answer.completion.next(wait):
                case Idle() if wait is None:
                    continue
                case Idle():
                    return await _headers(answer.exchange), None
                case Refusal() as refusal:
                    return answer.exchange.refuse(refusal)
                case Piece(parts=[ReplyFailed() as failed]):
                    return answer.failed(failed)
                case Piece() as piece:
                    return await _headers(answer.exchange), piece

    async def _next_piece(
        self, answer: Answer[ChatRequest], response: web.StreamResponse
    ) -> Piece | Refusal:
        while True:
            got = await answer.completion.next(_KEEP_ALIVE_SECONDS)
            if not isinstance(got, Idle):
                return got
            if self._streams.sends_keep_alive:
                await write(response, KEEP_ALIVE)


def _note_end(answer: Answer[ChatRequest], piece: Piece) -> None:
    end = piece.parts[-1]
    if isinstance(end, ReplyFailed):
        answer.exchange.line.add(error_type=end.error_type)
        answer.exchange.line.outcome = "failed"


async def _headers(exchange: Exchange) -> web.StreamResponse:
    response = web.StreamResponse(headers={**_STREAM_HEADERS, **exchange.headers})
    await response.prepare(exchange.request)
    return response
