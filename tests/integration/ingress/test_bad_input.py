"""Hostile and mistaken requests over real HTTP: always a 4xx in the envelope, nothing emitted."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from shared.events.topics import API_KEYS_STATE
from shared.postgres.outbox import mark_dirty
from shared.postgres.pool import Connection, in_transaction, open_pool
from tests.integration.ingress.conftest import MODEL, World, make_account
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGES = [{"role": "user", "content": "hi"}]
GOOD = json.dumps({"model": MODEL, "messages": MESSAGES}).encode()


async def raw(world: World, head: str, body: bytes = b"") -> tuple[int, dict[str, str], Any]:
    """Send bytes as they are; gives status, headers and JSON."""
    assert world.ingress.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", world.ingress.port)
    try:
        writer.write(head.encode("latin-1").replace(b"\n", b"\r\n") + b"\r\n" + body)
        await writer.drain()
        async with asyncio.timeout(10):
            status = int((await reader.readline()).split()[1])
            headers: dict[str, str] = {}
            while (line := (await reader.readline()).strip()) != b"":
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            content = await reader.readexactly(int(headers["content-length"]))
        return status, headers, json.loads(content)
    finally:
        writer.close()


def post(world: World, body: bytes, *extra: str, authorization: str | None = None) -> str:
    shown = authorization or f"Bearer {world.account.api_key}"
    lines = [
        "POST /api/v1/chat/completions HTTP/1.1",
        "Host: test",
        f"Authorization: {shown}",
        f"Content-Length: {len(body)}",
        *extra,
    ]
    return "\n".join(lines) + "\n"


BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "not JSON": (b"hello", "not valid JSON"),
    "not an object": (b"[1]", "expected object, got array"),
    "cut": (GOOD[:-2], "not valid JSON"),
    "invalid UTF-8": (GOOD.replace(b"hi", b"\xff\xfe"), "not valid UTF-8"),
    "UTF-8 surrogate": (GOOD.replace(b"hi", b"\xed\xa0\x80"), "not valid UTF-8"),
    "lone surrogate": (GOOD.replace(b"hi", b"\\ud800"), "not valid JSON"),
    "unknown field, lone surrogate": (GOOD[:-1] + b',"x":"\\udfff"}', "not valid JSON"),
    "NUL byte": (GOOD.replace(b"hi", b"a\x00b"), "not valid JSON"),
    "escaped NUL": (GOOD.replace(b"hi", b"a\\u0000b"), "NUL"),
    "huge integer": (GOOD[:-1] + b',"seed":' + b"9" * 5000 + b"}", "out of range"),
    "unknown field, huge integer": (GOOD[:-1] + b',"x":' + b"9" * 5000 + b"}", "range"),
    "NaN": (GOOD[:-1] + b',"temperature":NaN}', "not valid JSON"),
    "infinite": (GOOD[:-1] + b',"temperature":1e999}', "out of range"),
    "deep": (GOOD[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep"),
    "wrong type": (GOOD.replace(b'"user"', b"1"), "messages[0].role: expected string"),
    "unknown role": (GOOD.replace(b'"user"', b'"king"'), "messages[0].role: expected one of"),
    "no messages": (b'{"model":"openai/gpt-4o"}', "messages: is required"),
    "no model": (b'{"messages":[{"role":"user","content":"hi"}]}', "model: name a model"),
    "unknown model": (GOOD.replace(b"gpt-4o", b"gpt-4q"), "did you mean openai/gpt-4o"),
    "NUL in a model": (GOOD.replace(b"gpt-4o", b"gpt\\u0000"), "NUL"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_a_400_that_says_what_and_where(world: World, name: str) -> None:
    body, expected = BODIES[name]
    before = len(world.dispatcher.requests)
    status, headers, answer = await raw(world, post(world, body), body)
    assert status == 400, answer
    assert expected.lower() in answer["error"]["message"].lower()
    assert answer["error"]["code"] == 400
    assert headers["x-generation-id"].startswith("gen-")
    assert len(world.dispatcher.requests) == before


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("Bearer \xe9\xff", "unknown"),
        ("Bearer sk-or-v1-" + "0" * 64, "unknown"),
        ("Bearer sk-or-v1-", "unknown"),
        ("Basic abc", "Missing Authentication header"),
        ("Bearer", "Missing Authentication header"),
        ("Bearer " + "x" * 4000, "unknown"),
    ],
)
async def test_a_bad_authorization_is_a_401(world: World, authorization: str, message: str) -> None:
    head = post(world, GOOD, authorization=authorization)
    status, _, answer = await raw(world, head, GOOD)
    assert status == 401
    assert message in answer["error"]["message"]
    assert answer["error"]["metadata"]["error_type"] == "authentication"


async def test_without_authorization_the_answer_is_a_401(world: World) -> None:
    async with world.http.post(f"{world.base_url}/chat/completions", data=GOOD) as response:
        body = await response.json()
    assert response.status == 401
    assert body["error"]["message"] == "Missing Authentication header"


async def test_a_body_that_is_no_gzip_is_a_400_that_closes_the_connection(world: World) -> None:
    head = post(world, GOOD, "Content-Encoding: gzip")
    status, headers, answer = await raw(world, head, GOOD)
    assert status == 400, answer
    assert headers["connection"] == "close"


async def test_a_gzip_body_is_read_and_a_bomb_is_not(world: World) -> None:
    bad = gzip.compress(GOOD.replace(b"gpt-4o", b"gpt-4q"))
    status, _, answer = await raw(world, post(world, bad, "Content-Encoding: gzip"), bad)
    assert status == 400
    assert "did you mean" in answer["error"]["message"]
    bomb = await asyncio.to_thread(gzip.compress, b" " * (64 * 1024 * 1024))
    status, _, answer = await raw(world, post(world, bomb, "Content-Encoding: gzip"), bomb)
    assert status == 413, answer


async def test_a_length_beyond_the_limit_is_refused_before_the_body_comes(world: World) -> None:
    head = post(world, b"").replace("Content-Length: 0", "Content-Length: 99999999999")
    status, _, answer = await raw(world, head)
    assert status == 413
    assert answer["error"]["metadata"]["error_type"] == "payload_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/chat/completions", 405),
        ("DELETE", "/models", 405),
        ("PUT", "/byok", 405),
        ("POST", "/byok/0", 405),
        ("GET", "/%00%ff/x", 404),
    ],
)
async def test_wrong_paths_and_methods_are_told_in_the_envelope(
    world: World, method: str, path: str, status: int
) -> None:
    found, headers, answer = await raw(world, f"{method} /api/v1{path} HTTP/1.1\nHost: test\n")
    assert found == status
    assert answer["error"]["code"] == status
    assert ("allow" in headers) == (status == 405)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GARBAGE\n", 400),
        ("GET /api/v1/models HTTP/1.1\nHost: test\nX-Large: " + "a" * 100_000 + "\n", 400),
        ("GET /api/v1/" + "a" * 100_000 + " HTTP/1.1\nHost: test\n", 400),
        ("GET /api/v1/key HTTP/1.1\nHost: test\nAuthorization: Bearer canary\0\n", 400),
        ("POST /api/v1/byok HTTP/1.1\nHost: test\nContent-Length: abc\n", 400),
        ("OPTIONS * HTTP/1.1\nHost: test\n", 404),
        ("CONNECT test:443 HTTP/1.1\nHost: test\n", 404),
    ],
)
async def test_what_the_http_parser_refuses_is_told_in_the_envelope_too(
    world: World, head: str, status: int
) -> None:
    found, _, answer = await raw(world, head)
    assert found == status, answer
    assert answer["error"]["code"] == status
    assert "canary" not in answer["error"]["message"]


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd"])
async def test_a_body_that_does_not_decode_is_a_400_in_the_envelope(
    world: World, encoding: str
) -> None:
    head = post(world, b"junk", f"Content-Encoding: {encoding}")
    status, _, answer = await raw(world, head, b"junk")
    assert status == 400
    assert answer["error"]["code"] == 400


async def test_a_management_key_may_not_infer_and_an_inference_key_not_manage(
    world: World,
) -> None:
    async with world.http.post(
        f"{world.base_url}/chat/completions", data=GOOD, headers=world.account.management_headers
    ) as response:
        assert response.status == 403
    async with world.http.get(f"{world.base_url}/byok", headers=world.account.headers) as response:
        body = await response.json()
    assert response.status == 403
    assert body["error"]["message"] == "Only management keys can perform this operation"


async def test_a_disabled_key_stops_at_once_and_is_told_the_same_as_an_unknown_one(
    world: World,
) -> None:
    account = await make_account(world.operations, "leaver")
    url = f"{world.base_url}/key"
    async with world.http.get(url, headers=account.headers) as response:
        assert response.status == 200
    await _disable_all(world, account.account_id)

    async def is_refused() -> bool:
        async with world.http.get(url, headers=account.headers) as again:
            return again.status == 401

    await wait_until(is_refused, deadline_seconds=8)


async def _disable_all(world: World, account_id: str) -> None:
    """What the settings pages will do: change the row and mark it dirty in one transaction."""

    async def work(connection: Connection) -> None:
        rows = await connection.fetch(
            "update api_keys set disabled = true, version = version + 1 where account_id = $1"
            " returning hash",
            account_id,
        )
        await mark_dirty(connection, API_KEYS_STATE.name, [row["hash"] for row in rows])

    async with open_pool(world.config.postgres, application_name="test") as pool:
        await in_transaction(pool, work)
