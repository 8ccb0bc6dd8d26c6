"""Carrying out one step for one call: what goes over the connection, and when it breaks."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

import msgspec
from aiohttp import web

from tests.simulator import usage
from tests.simulator.answer import Answer, Wire, compose
from tests.simulator.call_log import Call, CallLog
from tests.simulator.chat_request import ChatRequest
from tests.simulator.embeddings import Asked
from tests.simulator.errors import ErrorAnswer
from tests.simulator.performance import Performance
from tests.simulator.scripts import (
    SECONDS_MAX,
    ConnectionReset,
    Garbage,
    Hang,
    Huge,
    Status,
    Step,
    StepOfAll,
)
from tests.simulator.usage import Usage

_HTML = b"<html><head><title>200 OK</title></head><body>proxy: upstream answered</body></html>"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_HUGE_MARK = "(here)"
_PIECE_BYTES = 256 * 1024

_WHOLE = Performance()


class WriteVectors(Protocol):
    """Writes the body of an answer with vectors."""

    def __call__(self, asked: Asked, *, usage_told: bool) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """One call on one connection."""

    http: web.Request
    wire: Wire
    call: Call
    calls: CallLog

    async def play(self, step: Step, request: ChatRequest, model: str) -> web.StreamResponse:
        """Do what the step says. Ends the call in the log, but for a client that leaves first."""
        if isinstance(step, Huge):
            return await self._huge(step.size_bytes, request, model)
        how = await self._begin(step, model)
        if isinstance(how, web.Response):
            return how
        answer = self._compose(request, model, how)
        if request.stream:
            pause_ms = how.pause_ms or usage.pause_ms(usage.last_user_text(request.messages))
            return await self._stream(answer, how, pause_ms / 1000)
        return await self._plain(
            self.wire.completion(answer), answer.usage, how, told=answer.usage_told
        )

    async def play_embeddings(
        self, step: Step, asked: Asked, write: WriteVectors, *, tokens_header: str | None = None
    ) -> web.StreamResponse:
        """The same for embeddings, which `write` gives their shape; some tell tokens in a header."""
        if isinstance(step, Huge):
            self._completed(told=True)
            return self._json(write(asked, usage_told=True) + b" " * step.size_bytes)
        how = await self._begin(step, asked.model)
        if isinstance(how, web.Response):
            return how
        headers = {tokens_header: str(asked.usage.prompt_tokens)} if tokens_header else {}
        return await self._plain(
            write(asked, usage_told=how.usage_told),
            asked.usage,
            how,
            told=how.usage_told,
            headers=headers if how.usage_told else None,
        )

    async def _begin(self, step: StepOfAll, model: str) -> web.Response | Performance:
        """What is answered instead of anything that was asked for, or how to give that."""
        match step:
            case Status():
                credential = self.call.credential or ""
                return self.refuse(self.wire.scripted(step, model=model, credential=credential))
            case ConnectionReset() | Hang():
                if isinstance(step, Hang):
                    await asyncio.sleep(SECONDS_MAX)
                return self._reset()
            case Garbage():
                self._failed(200)
                return garbage()
            case _:
                how = step.performance
        if how.delay_seconds:
            await asyncio.sleep(min(how.delay_seconds, SECONDS_MAX))
        if how.ending == "error_event" and not self.call.streamed:
            self._failed(200)
            return self._json(msgspec.json.encode(self.wire.late_error(model).body))
        return how

    def refuse(self, error: ErrorAnswer) -> web.Response:
        """Answer with an error."""
        self._failed(error.status)
        return self._json(msgspec.json.encode(error.content), error.status, error.headers)

    def _compose(self, request: ChatRequest, model: str, how: Performance) -> Answer:
        return compose(
            request,
            call_id=self.call.id,
            created=int(self.call.started.timestamp()),
            model=model,
            cached_tokens=how.cached_tokens,
            cache_write_tokens=how.cache_write_tokens,
            reasoning_tokens=how.reasoning_tokens,
            usage_told=how.usage_told,
            empty=how.empty,
        )

    async def _plain(
        self,
        body: bytes,
        used: Usage,
        how: Performance,
        *,
        told: bool,
        headers: Mapping[str, str] | None = None,
    ) -> web.StreamResponse:
        self.call.usage = used
        match how.ending:
            case "whole":
                self._completed(told=told)
                return self._json(body, headers=headers)
            case "cut":
                self._failed(200)
                response = web.StreamResponse(headers={"Content-Length": str(len(body))})
                response.content_type = "application/json"
                await response.prepare(self.http)
                await response.write(body[: len(body) // 2])
                return self._close(response)
            case "clean" | "error_event":  # an error was given before it came here
                self._failed(200)
                return self._json(body[: len(body) // 2])

    async def _stream(
        self, answer: Answer, how: Performance, pause_seconds: float
    ) -> web.StreamResponse:
        events = self.wire.events(answer)
        whole = how.ending == "whole"
        pieces = events.pieces if whole else events.pieces[: how.chunks]
        response = await self._open_stream(events.content_type)
        self._used(answer, 0)
        if how.ending == "error_event" and not how.chunks:
            pieces = []
        elif pause_seconds == 0 and whole:
            self.call.usage = answer.usage
            await response.write(events.opening + b"".join(pieces) + events.closing)
            self._completed(told=answer.usage_chunk)
            return response
        else:
            await response.write(events.opening)
        for count, piece in enumerate(pieces, start=1):
            if pause_seconds:
                await asyncio.sleep(pause_seconds)
            await response.write(piece)
            self._used(answer, count)
        match how.ending:
            case "whole":
                self.call.usage = answer.usage
                await response.write(events.closing)
                self._completed(told=answer.usage_chunk)
                return response
            case "error_event":
                await response.write(self.wire.error_event(self.wire.late_error(answer.model)))
                self._failed(200)
                return response
            case "clean":
                self._failed(200)
                return response
            case "cut":
                self._failed(200)
                return self._close(response)
            case _:
                assert_never(how.ending)

    async def _huge(self, size_bytes: int, request: ChatRequest, model: str) -> web.StreamResponse:
        """One text of `size_bytes`, written in pieces, inside an otherwise right answer."""
        answer = replace(self._compose(request, model, _WHOLE), words=[_HUGE_MARK], tool_calls=())
        mark = _HUGE_MARK.encode()
        self.call.usage = answer.usage
        if request.stream:
            events = self.wire.events(answer)
            response = await self._open_stream(events.content_type)
            before, _, after = events.pieces[0].partition(mark)
            before, after = events.opening + before, after + events.closing
        else:
            response = web.StreamResponse()
            response.content_type = "application/json"
            await response.prepare(self.http)
            before, _, after = self.wire.completion(answer).partition(mark)
        await response.write(before)
        for start in range(0, size_bytes, _PIECE_BYTES):
            await response.write(b"a" * min(_PIECE_BYTES, size_bytes - start))
        await response.write(after)
        self._completed(told=answer.usage_chunk if request.stream else answer.usage_told)
        return response

    async def _open_stream(self, content_type: str) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                "Content-Type": content_type,
                "Cache-Control": "no-cache",
                **self._request_id(),
            }
        )
        self.call.status = 200
        await response.prepare(self.http)
        return response

    def _json(
        self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        all_headers = {"Content-Type": "application/json", **self._request_id()}
        if headers:
            all_headers |= headers
        return web.Response(body=body, status=status, headers=all_headers)

    def _request_id(self) -> dict[str, str]:
        """AWS names its answers in a header alone."""
        name = "x-amzn-RequestId" if self.call.wire == "bedrock" else "x-request-id"
        return {name: self.call.id}

    def _used(self, answer: Answer, pieces: int) -> None:
        """Note what a stream has used so far: a word a piece, a tool call all at once."""
        calls = len(answer.tool_calls)
        tokens = usage.TOOL_CALL_TOKENS * calls * bool(pieces) if calls else pieces
        self.call.usage = Usage(
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=tokens + answer.usage.reasoning_tokens,
            cached_tokens=answer.usage.cached_tokens,
            cache_write_tokens=answer.usage.cache_write_tokens,
            reasoning_tokens=answer.usage.reasoning_tokens,
        )

    def _completed(self, *, told: bool) -> None:
        self.call.status = 200
        self.call.usage_told = told
        self.calls.end(self.call, "completed")

    def _failed(self, status: int | None) -> None:
        self.call.status = status
        self.calls.end(self.call, "failed")

    def _close(self, response: web.StreamResponse) -> web.StreamResponse:
        """Close the connection after what was written, without the end of the body."""
        if self.http.transport is not None:
            self.http.transport.close()
        return response

    def _reset(self) -> web.Response:
        self._failed(None)
        return reset(self.http)


def reset(http: web.Request) -> web.Response:
    """Make the kernel send RST rather than FIN."""
    transport = http.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()


def garbage() -> web.Response:
    """A page of a proxy in between."""
    return web.Response(body=_HTML, content_type="text/html")
