"""An HTTP server's life: listen, answer, stop taking, drain, end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

from aiohttp import hdrs, web
from typing_extensions import override

from shared.telemetry.logging import get_logger

Unreadable: TypeAlias = Callable[[int], web.Response]
"""What is answered, with this status, to what no handler ever sees: it is no HTTP, too large, or names
no path, as `OPTIONS *`."""

_Answering: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_KEEPALIVE_SECONDS = 75.0  # longer than a load balancer's usual 60, so that it closes first
_BACKLOG = 1024
_LINE_BYTES_MAX = 8190
_HEADER_BYTES_MAX = 16380
_HEADERS_MAX = 100


@asynccontextmanager
async def serve(
    app: web.Application,
    host: str,
    port: int,
    *,
    shutdown_seconds: float,
    unreadable: Unreadable | None = None,
) -> AsyncIterator[int]:
    """Serve `app` while the block runs; yields the port, which matters when `port` is 0.

    A client that leaves cancels its handler. At the block's end no new connection is taken, running
    handlers have `shutdown_seconds` to finish and are then cancelled. Raises OSError when the
    address is taken.
    """
    runner = _Runner(
        app,
        unreadable=unreadable or _plain,
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


def _plain(status: int) -> web.Response:
    return web.Response(status=status)


class _Runner(web.AppRunner):
    """aiohttp's runner, whose connections answer what they cannot read in the service's words."""

    def __init__(self, app: web.Application, *, unreadable: Unreadable, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._unreadable = unreadable

    @override
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            _straight_to_handlers(self.app, made.request_handler),
            request_factory=made.request_factory,
            unreadable=self._unreadable,
            **self._kwargs,
        )


def _straight_to_handlers(app: web.Application, through_router: _Answering) -> _Answering:
    """What the router does with a path, for those without parameters in a look into a dictionary.

    The rest goes through it: other paths and methods, and what `Expect: 100-continue` asks for first.
    """
    handlers: dict[tuple[str, str], _Answering] = {
        (route.method, route.resource.canonical): cast("_Answering", route.handler)
        for route in app.router.routes()
        if isinstance(route.resource, web.PlainResource) and not app.middlewares
    }

    def answering(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        handler = handlers.get((request.method, request.rel_url.raw_path))
        if handler is None or hdrs.EXPECT in request.headers:
            return through_router(request)
        return handler(request)

    return answering


class _Server(web.Server):
    def __init__(self, *arguments: Any, unreadable: Unreadable, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._unreadable = unreadable

    @override
    def __call__(self) -> web.RequestHandler:
        loop = asyncio.get_running_loop()
        return _Connection(self, loop=loop, unreadable=self._unreadable, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ("_unreadable",)

    def __init__(self, *arguments: Any, unreadable: Unreadable, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._unreadable = unreadable

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer and end the connection.

        `exc` and `message` quote what came, perhaps a key; so neither is told nor logged.
        """
        name = type(exc).__name__ if exc is not None else "no error"
        get_logger("http").info("a request could not be read", status=status, error_class=name)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; there is no other to give")
        response = self._unreadable(status)
        response.force_close()
        return response

    @override
    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send an answer; the router's own takes our form, which a middleware would cost each request."""
        if isinstance(resp, web.HTTPException):
            resp = self._unreadable(resp.status)
        return super().finish_response(request, resp, start_time)
