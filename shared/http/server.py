"""An HTTP server's life: listen, answer, stop taking, drain, end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

_KEEPALIVE_SECONDS = 75.0  # longer than a load balancer's usual 60, so that it closes first
_BACKLOG = 1024
_LINE_BYTES_MAX = 8190
_HEADER_BYTES_MAX = 16380
_HEADERS_MAX = 100


@asynccontextmanager
async def serve(
    app: web.Application, host: str, port: int, *, shutdown_seconds: float
) -> AsyncIterator[int]:
    """Serve `app` while the block runs; yields the port, which matters when `port` is 0.

    A client that leaves cancels its handler. At the block's end no new connection is taken, running
    handlers have `shutdown_seconds` to finish and are then cancelled. Raises OSError when the
    address is taken.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        max_line_size=_LINE_BYTES_MAX,
        max_field_size=_HEADER_BYTES_MAX,
        max_headers=_HEADERS_MAX,
        shutdown_timeout=shutdown_seconds,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=_BACKLOG)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
