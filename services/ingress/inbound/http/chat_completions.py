"""POST /chat/completions: plain and streamed.

A stream's headers are held back until its first frame, so that whatever fails before it is a real
HTTP status, upon which clients retry. That silence may end connections on the way: after
`headers_after_seconds` the headers go all the same, and comments keep the connection alive; what
fails from then on is an error chunk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from services.ingress.domain import api_key, refusals
from services.ingress.domain.anthropic_betas import HEADER, read_betas
from services.ingress.domain.chat_request import ChatRequest, read_chat_request
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import openai_wire
from services.ingress.inbound.http.bodies import Bodies
from services.ingress.inbound.http.error_envelope import refusal_of
from services.ingress.inbound.http.event_stream import DONE, KEEP_ALIVE, EventStream
from services.ingress.inbound.http.exchange import CLIENT_LEFT, Exchange
from services.ingress.inbound.http.measurements import HttpMeasurements
from services.ingress.inbound.http.router_metadata import router_metadata, wants_metadata
from services.ingress.use_cases.complete_chat import CompleteChat, Completion, Idle, Piece
from services.ingress.use_cases.known_callers import KnownCallers
from shared.clock import Clock
from shared.events.replies import ReplyCompleted, ReplyFailed, ReplyPart
from shared.ids import GenerationId
from shared.telemetry.logging import get_logger
from shared.time_limit import TimeLimit

_WAIT_SECONDS: Final = 60.0
_KEEP_ALIVE_SECONDS: Final = 1.0
_WRITE_SECONDS_MAX: Final = 60.0
"""A client that takes nothing for this long is gone."""
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

    def __init__(
        self,
        *,
        callers: KnownCallers,
        bodies: Bodies,
        complete_chat: CompleteChat,
        streams: StreamSettings,
        measurements: HttpMeasurements,
        clock: Clock,
        new_generation_id: Callable[[], GenerationId],
        is_stopping: Callable[[], bool],
    ) -> None:
        """`is_stopping` tells a client that left from one that we leave."""
        self._callers = callers
        self._bodies = bodies
        self._complete_chat = complete_chat
        self._streams = streams
        self._measurements = measurements
        self._clock = clock
        self._new_generation_id = new_generation_id
        self._is_stopping = is_stopping
        self._logger = get_logger("chat_completions")

    async def create(self, exchange: Exchange) -> web.StreamResponse:
        """Answer one request."""
        started = self._clock.monotonic()
        generation_id = self._new_generation_id()
        exchange.headers["X-Generation-Id"] = generation_id
        exchange.line.add(generation_id=generation_id)
        begun = await self._begin(exchange, generation_id)
        if isinstance(begun, Refusal):
            return exchange.refuse(begun)
        completion, request = begun
        answer = _Answer(exchange=exchange, completion=completion, request=request, started=started)
        exchange.line.add(model=request.requested_models[0], streamed=bool(request.stream))
        try:
            if request.stream:
                return await self._stream(answer)
            return await self._whole(answer)
        except ConnectionError:
            return _left(exchange)
        except Exception:
            completion.fail("internal")
            raise
        finally:
            completion.close("stopping" if self._is_stopping() else "client_gone")

    async def _begin(
        self, exchange: Exchange, generation_id: GenerationId
    ) -> tuple[Completion, ChatRequest] | Refusal:
        caller = await self._callers.identify(exchange.authorization())
        if isinstance(caller, Refusal):
            return caller
        exchange.line.add(account_id=caller.account_id)
        if caller.is_management:
            return api_key.NOT_FOR_INFERENCE
        with self._bodies.room_for(exchange.request) as no_room:
            body = no_room or await self._bodies.read(exchange.request)
            if isinstance(body, Refusal):
                return body
            request = read_chat_request(body)
            if isinstance(request, Refusal):
                return request
            betas = read_betas(exchange.request.headers.getall(HEADER, []))
            if isinstance(betas, Refusal):
                return betas
            completion = await self._complete_chat.begin(
                generation_id, caller, request, body, anthropic_betas=betas
            )
        return completion if isinstance(completion, Refusal) else (completion, request)

    async def _whole(self, answer: "_Answer") -> web.StreamResponse:
        parts: list[ReplyPart] = []
        while True:
            match await answer.completion.next(_WAIT_SECONDS):
                case Idle():
                    continue
                case Refusal() as refusal:
                    return answer.exchange.refuse(refusal)
                case Piece() as piece:
                    parts.extend(piece.parts)
                    if piece.is_last:
                        break
        self._first_byte(answer)
        match parts[-1]:
            case ReplyCompleted() as completed:
                metadata = answer.metadata(completed, is_byok=completed.usage.is_byok)
                return answer.exchange.raw(
                    openai_wire.completion(
                        answer.completion.generation_id, completed, openrouter_metadata=metadata
                    )
                )
            case ReplyFailed() as failed:
                return _failed(answer, failed)
            case _:
                raise AssertionError("the use case ends with a part that ends")

    async def _stream(self, answer: "_Answer") -> web.StreamResponse:
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
        self._first_byte(answer)
        try:
            await self._pump(answer, response, events, piece)
        except (ConnectionError, TimeoutError):
            if answer.exchange.request.transport is not None:
                answer.exchange.request.transport.abort()
            _ = _left(answer.exchange)
        except Exception:
            # the status is sent: the stream must say it
            answer.completion.fail("internal")
            answer.exchange.line.outcome = "failed"
            self._logger.exception("a stream failed")
            await _write(response, events.failure(refusals.internal()) + DONE)
        return response

    async def _pump(
        self,
        answer: "_Answer",
        response: web.StreamResponse,
        events: EventStream,
        first: Piece | None,
    ) -> None:
        """Write piece after piece until the end."""
        if first is None:
            await _write(response, KEEP_ALIVE)
        piece: Piece | Refusal = first or await self._next_piece(answer, response)
        while isinstance(piece, Piece) and not piece.is_last:
            await _write(response, events.encode(piece.parts))
            piece = await self._next_piece(answer, response)
        if isinstance(piece, Refusal):
            answer.exchange.line.add(error_type=piece.error_type)
            answer.exchange.line.outcome = "failed"
            last = events.failure(piece)
        else:
            _note_end(answer, piece)
            last = events.encode(piece.parts)
        with TimeLimit(_WRITE_SECONDS_MAX):
            await response.write_eof(last + DONE)

    async def _before_headers(
        self, answer: "_Answer"
    ) -> "tuple[web.StreamResponse, Piece | None] | web.Response":
        """Wait for the first piece; an error is still a status. None when headers go before it."""
        wait = self._streams.headers_after_seconds if self._streams.sends_keep_alive else None
        while True:
            match await answer.completion.next(_WAIT_SECONDS if wait is None else wait):
                case Idle() if wait is None:
                    continue
                case Idle():
                    return await _headers(answer.exchange), None
                case Refusal() as refusal:
                    return answer.exchange.refuse(refusal)
                case Piece(parts=[ReplyFailed() as failed]):
                    return _failed(answer, failed)
                case Piece() as piece:
                    return await _headers(answer.exchange), piece

    async def _next_piece(self, answer: "_Answer", response: web.StreamResponse) -> Piece | Refusal:
        while True:
            got = await answer.completion.next(_KEEP_ALIVE_SECONDS)
            if not isinstance(got, Idle):
                return got
            if self._streams.sends_keep_alive:
                await _write(response, KEEP_ALIVE)

    def _first_byte(self, answer: "_Answer") -> None:
        seconds = self._clock.monotonic() - answer.started
        answer.exchange.line.add(first_byte_ms=round(seconds * 1000, 3))
        self._measurements.first_byte(seconds, streamed=bool(answer.request.stream))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What belongs to one answer on its way."""

    exchange: Exchange
    completion: Completion
    request: ChatRequest
    started: float

    def metadata(self, part: ReplyCompleted | ReplyFailed, *, is_byok: bool) -> msgspec.Raw | None:
        """`openrouter_metadata`, where it was asked for."""
        if not wants_metadata(self.exchange.request.headers):
            return None
        return router_metadata(self.request.requested_models[0], part.attempts, is_byok=is_byok)


def _failed(answer: _Answer, failed: ReplyFailed) -> web.Response:
    metadata = answer.metadata(failed, is_byok=False)
    return answer.exchange.refuse(refusal_of(failed), metadata=metadata)


def _note_end(answer: _Answer, piece: Piece) -> None:
    end = piece.parts[-1]
    if isinstance(end, ReplyFailed):
        answer.exchange.line.add(error_type=end.error_type)
        answer.exchange.line.outcome = "failed"


def _left(exchange: Exchange) -> web.Response:
    """The client has gone: nobody reads this, but the line and the count do."""
    exchange.line.add(status=CLIENT_LEFT)
    exchange.line.outcome = "cancelled"
    return web.Response(status=CLIENT_LEFT)


async def _headers(exchange: Exchange) -> web.StreamResponse:
    response = web.StreamResponse(headers={**_STREAM_HEADERS, **exchange.headers})
    await response.prepare(exchange.request)
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if not data:
        return
    with TimeLimit(_WRITE_SECONDS_MAX):
        await response.write(data)
