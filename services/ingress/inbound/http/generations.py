"""What all requests for a generation have in common: who asks, the body, and the end of the answer."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec
from aiohttp import web

from services.ingress.domain import api_key
from services.ingress.domain.client_identifiers import session_of
from services.ingress.domain.embeddings_request import AnyRequest
from services.ingress.domain.refusals import Refusal
from services.ingress.domain.request_origin import request_origin
from services.ingress.inbound.http.bodies import Bodies
from services.ingress.inbound.http.error_envelope import refusal_of
from services.ingress.inbound.http.exchange import CLIENT_LEFT, Exchange
from services.ingress.inbound.http.measurements import HttpMeasurements
from services.ingress.inbound.http.router_metadata import router_metadata, wants_metadata
from services.ingress.use_cases.complete_chat import CompleteChat, Completion, Idle, Piece
from services.ingress.use_cases.known_callers import KnownCallers
from shared.clock import Clock
from shared.events.generations import RequestOrigin
from shared.events.replies import ReplyCompleted, ReplyFailed, ReplyPart, ReplyVectors
from shared.ids import GenerationId
from shared.time_limit import TimeLimit

WRITE_SECONDS_MAX: Final = 60.0
"""A client that takes nothing for this long is gone."""

R = TypeVar("R", bound=AnyRequest)


class Answer(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """What belongs to one answer on its way."""

    exchange: Exchange
    completion: Completion
    request: R
    started: float

    def metadata(self, part: ReplyCompleted | ReplyFailed, *, is_byok: bool) -> msgspec.Raw | None:
        """`openrouter_metadata`, where it was asked for."""
        if not wants_metadata(self.exchange.request.headers):
            return None
        return router_metadata(self.request.requested_models[0], part.attempts, is_byok=is_byok)

    def failed(self, failed: ReplyFailed) -> web.Response:
        """The answer is an error."""
        metadata = self.metadata(failed, is_byok=False)
        return self.exchange.refuse(refusal_of(failed), metadata=metadata)


class Generations:
    """Begins generations and sees them to their end."""

    def __init__(
        self,
        *,
        callers: KnownCallers,
        bodies: Bodies,
        complete_chat: CompleteChat,
        measurements: HttpMeasurements,
        clock: Clock,
        new_generation_id: Callable[[], GenerationId],
        is_stopping: Callable[[], bool],
    ) -> None:
        """`is_stopping` tells a client that left from one that we leave."""
        self._callers = callers
        self._bodies = bodies
        self._complete_chat = complete_chat
        self._measurements = measurements
        self._clock = clock
        self._new_generation_id = new_generation_id
        self._is_stopping = is_stopping

    async def answer(
        self,
        exchange: Exchange,
        read: Callable[[bytes], R | Refusal],
        write: Callable[[Answer[R]], Awaitable[web.StreamResponse]],
        *,
        anthropic_betas: Sequence[str] | Refusal = (),
    ) -> web.StreamResponse:
        """Answer one request: `read` checks its body, `write` writes what comes back."""
        started = self._clock.monotonic()
        generation_id = self._new_generation_id()
        exchange.headers["X-Generation-Id"] = generation_id
        told = exchange.line.fields
        told["generation_id"] = generation_id
        begun = await self._begin(exchange, generation_id, read, anthropic_betas)
        if isinstance(begun, Refusal):
            return exchange.refuse(begun)
        completion, request = begun
        told["model"] = request.requested_models[0]
        told["streamed"] = request.is_streamed
        try:
            return await write(
                Answer(exchange=exchange, completion=completion, request=request, started=started)
            )
        except ConnectionError:
            return left(exchange)
        except Exception:
            completion.fail("internal")
            raise
        finally:
            completion.close("stopping" if self._is_stopping() else "client_gone")

    async def whole(self, answer: Answer[R]) -> ReplyCompleted | web.Response:
        """Wait for all of an answer; a response when it is an error. All vectors are in the last part."""
        parts: list[ReplyPart] = []
        while True:
            match await answer.completion.next():
                case Idle():
                    continue
                case Refusal() as refusal:
                    return answer.exchange.refuse(refusal)
                case Piece() as piece:
                    parts.extend(piece.parts)
                    if piece.is_last:
                        break
        self.first_byte(answer)
        match parts.pop():
            case ReplyCompleted() as completed:
                return _with_vectors(parts, completed)
            case ReplyFailed() as failed:
                return answer.failed(failed)
            case _:
                raise AssertionError("the use case ends with a part that ends")

    def first_byte(self, answer: Answer[R]) -> None:
        """The first byte goes out now."""
        seconds = self._clock.monotonic() - answer.started
        answer.exchange.line.add(first_byte_ms=round(seconds * 1000, 3))
        self._measurements.first_byte(seconds, streamed=answer.request.is_streamed)

    async def _begin(
        self,
        exchange: Exchange,
        generation_id: GenerationId,
        read: Callable[[bytes], R | Refusal],
        anthropic_betas: Sequence[str] | Refusal,
    ) -> tuple[Completion, R] | Refusal:
        caller = await self._callers.identify(exchange.authorization())
        if isinstance(caller, Refusal):
            return caller
        exchange.line.add(account_id=caller.account_id)
        if caller.is_management:
            return api_key.NOT_FOR_INFERENCE
        with self._bodies.room_for(exchange.request) as no_room:
            asked = no_room or await self._asked(exchange, read)
            if isinstance(asked, Refusal):
                return asked
            if isinstance(anthropic_betas, Refusal):
                return anthropic_betas
            body, request, origin = asked
            completion = await self._complete_chat.begin(
                generation_id,
                caller,
                request,
                body,
                anthropic_betas=anthropic_betas,
                origin=origin,
            )
        return completion if isinstance(completion, Refusal) else (completion, request)

    async def _asked(
        self, exchange: Exchange, read: Callable[[bytes], R | Refusal]
    ) -> tuple[bytes, R, RequestOrigin | None] | Refusal:
        """The body, what it asks for, and what its client says of itself."""
        body = await self._bodies.read(exchange.request)
        if isinstance(body, Refusal):
            return body
        request = read(body)
        if isinstance(request, Refusal):
            return request
        headers = exchange.request.headers
        session_id = session_of(headers, request.session_id)
        if isinstance(session_id, Refusal):
            return session_id
        return body, request, request_origin(headers, user=request.user, session_id=session_id)


def left(exchange: Exchange) -> web.Response:
    """The client has gone: nobody reads this, but the line and the count do."""
    exchange.line.add(status=CLIENT_LEFT)
    exchange.line.outcome = "cancelled"
    return web.Response(status=CLIENT_LEFT)


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Write to a client that takes it; TimeoutError to one that does not."""
    if not data:
        return
    with TimeLimit(WRITE_SECONDS_MAX):
        await response.write(data)


def _with_vectors(before: list[ReplyPart], completed: ReplyCompleted) -> ReplyCompleted:
    ahead = [each for part in before if isinstance(part, ReplyVectors) for each in part.vectors]
    if not ahead:
        return completed
    return msgspec.structs.replace(completed, vectors=[*ahead, *completed.vectors])
