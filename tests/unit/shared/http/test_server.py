import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from shared.http.server import serve
from tests.support.wait_until import wait_until


def app_of(handler: Callable[[web.Request], Awaitable[web.Response]]) -> web.Application:
    app = web.Application()
    app.router.add_get("/", handler)
    return app


async def ask(port: int) -> str:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/") as response,
    ):
        return await response.text()


async def test_it_answers_on_the_port_it_tells_and_no_longer_afterwards() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    async with serve(app_of(answer), "127.0.0.1", 0, shutdown_seconds=1) as port:
        assert await ask(port) == "here"

    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(port)


async def test_a_client_that_leaves_cancels_its_handler() -> None:
    events: list[str] = []

    async def wait(_request: web.Request) -> web.Response:
        events.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        raise AssertionError

    async with serve(app_of(wait), "127.0.0.1", 0, shutdown_seconds=5) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await wait_until(lambda: "begun" in events)
        writer.close()
        await writer.wait_closed()
        await wait_until(lambda: "cancelled" in events)


async def test_at_the_end_running_handlers_may_finish() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def finish(_request: web.Request) -> web.Response:
        begun.set()
        await may_end.wait()
        return web.Response(text="finished")

    async with (
        asyncio.TaskGroup() as group,
        serve(app_of(finish), "127.0.0.1", 0, shutdown_seconds=10) as port,
    ):
        asked = group.create_task(ask(port))
        await begun.wait()
        # The server begins to end when this block does, and the handler is still running.
        asyncio.get_running_loop().call_later(0.1, may_end.set)
    assert asked.result() == "finished"


async def test_at_the_end_handlers_that_do_not_finish_are_cancelled() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def stay(_request: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with asyncio.timeout(10):
        async with serve(app_of(stay), "127.0.0.1", 0, shutdown_seconds=0.1) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await begun.wait()
        writer.close()
    assert cancelled.is_set()


async def test_what_is_no_http_is_told_in_the_service_s_own_words_and_never_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    def told(status: int) -> web.Response:
        return web.json_response({"told": status}, status=status)

    async with serve(app_of(answer), "127.0.0.1", 0, shutdown_seconds=1, unreadable=told) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer canary\x00\r\n\r\n")
        async with asyncio.timeout(5):
            answered = await reader.read()
        writer.close()
        assert await ask(port) == "here"

    assert b" 400 " in answered
    assert answered.endswith(b'{"told": 400}')
    assert b"canary" not in answered
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("method", "target", "answered"),
    [
        ("GET", "/plain", "plain"),
        ("GET", "/plain?a=1", "plain"),
        ("POST", "/plain", "any"),
        ("GET", "/pl%61in", "plain"),
        ("GET", "/other", "other of other"),
        ("GET", "/two/parts", "parts"),
        ("GET", "/two%2Fparts", "other of two/parts"),
    ],
)
async def test_paths_lead_where_the_router_would_lead_them(
    method: str, target: str, answered: str
) -> None:
    async def plain(_request: web.Request) -> web.Response:
        return web.Response(text="plain")

    async def others(_request: web.Request) -> web.Response:
        return web.Response(text="any")

    async def parts(_request: web.Request) -> web.Response:
        return web.Response(text="parts")

    async def parameter(request: web.Request) -> web.Response:
        return web.Response(text=f"other of {request.match_info['name']}")

    app = web.Application()
    resource = app.router.add_resource("/plain")
    resource.add_route("GET", plain)
    resource.add_route("*", others)
    app.router.add_get("/two/parts", parts)
    app.router.add_get("/{name}", parameter)

    async with (
        serve(app, "127.0.0.1", 0, shutdown_seconds=1) as port,
        aiohttp.ClientSession() as client,
        client.request(method, URL(f"http://127.0.0.1:{port}{target}", encoded=True)) as response,
    ):
        assert (response.status, await response.text()) == (200, answered)


async def test_a_client_that_asks_whether_to_go_on_is_told_before_its_body_comes() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=await request.text())

    app = web.Application()
    app.router.add_post("/", answer)
    async with serve(app, "127.0.0.1", 0, shutdown_seconds=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head)
        async with asyncio.timeout(5):
            assert b" 100 " in await reader.readline()
            writer.write(b"hi")
            assert (await reader.readuntil(b"\r\n\r\nhi")).endswith(b"hi")
        writer.close()


async def test_what_the_router_refuses_is_told_in_the_service_s_own_words() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    def told(status: int) -> web.Response:
        return web.json_response({"told": status}, status=status)

    async with (
        serve(app_of(answer), "127.0.0.1", 0, shutdown_seconds=1, unreadable=told) as port,
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/nowhere") as response,
    ):
        assert (response.status, await response.json()) == (404, {"told": 404})
