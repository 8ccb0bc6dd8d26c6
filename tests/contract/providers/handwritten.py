"""A provider that says exactly what a test writes, and counts the connections that it got."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from aiohttp import web

PATH = "/chat/completions"


@dataclass(slots=True, kw_only=True)
class Handwritten:
    """`pieces` are written one by one, then it lingers and ends; what was asked stands in `bodies` and `headers`."""

    port: int = 0
    status: int = 200
    answer_headers: dict[str, str] = field(default_factory=dict)
    pieces: Sequence[bytes] = (b"{}",)
    lingers_seconds: float = 0
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, http: web.Request) -> web.StreamResponse:
        self.bodies.append(await http.read())
        self.headers.append(dict(http.headers))
        self.paths.append(http.raw_path)
        assert http.transport is not None
        self.connections.add(http.transport.get_extra_info("peername")[1])
        response = web.StreamResponse(status=self.status, headers=self.answer_headers)
        await response.prepare(http)
        for piece in self.pieces:
            await response.write(piece)
        await asyncio.sleep(self.lingers_seconds)
        return response


@asynccontextmanager
async def running_handwritten() -> AsyncIterator[Handwritten]:
    server = Handwritten()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(
        application, access_log=None, handler_cancellation=True, shutdown_timeout=1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = cast("int", runner.addresses[0][1])
        yield server
    finally:
        await runner.cleanup()
