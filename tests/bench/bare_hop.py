"""One bare aiohttp proxy hop with no product in it: two of them are what the product is compared to.

python -m tests.bench.bare_hop PORT NEXT_URL
"""

import sys
from collections.abc import AsyncGenerator

import aiohttp
import uvloop
from aiohttp import web

_NEXT = web.AppKey("next", str)
_SESSION = web.AppKey("session", aiohttp.ClientSession)
_PASSED_ON = ("Authorization", "Content-Type")


async def _pass_on(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    session = request.app[_SESSION]
    async with session.post(request.app[_NEXT], data=body, headers=headers) as upstream:
        if not upstream.headers["Content-Type"].startswith("text/event-stream"):
            return web.Response(
                body=await upstream.read(), status=upstream.status, content_type="application/json"
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for piece in upstream.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def _session(app: web.Application) -> AsyncGenerator[None]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        app[_SESSION] = session
        yield


def main(port: str, next_url: str) -> None:
    """Serve until killed."""
    app = web.Application()
    app[_NEXT] = next_url
    app.cleanup_ctx.append(_session)
    app.router.add_post("/{path:.*}", _pass_on)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:3])
