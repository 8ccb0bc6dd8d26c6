"""The control API and the call log, over HTTP and from the file."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from shared.clock import SystemClock
from tests.simulator import usage
from tests.simulator.app import Simulator, running_simulator
from tests.simulator.call_log import CallLog, read_calls

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello words=6"}]}


@pytest.fixture
async def http(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(simulator.url) as session:
        yield session


async def complete(
    http: aiohttp.ClientSession, key: str, body: dict[str, Any] | None = None
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}"}
    async with http.post("/v1/chat/completions", json=body or BODY, headers=headers) as response:
        return response.status, await response.read()


async def put(http: aiohttp.ClientSession, key: str, script: object) -> int:
    async with http.put(f"/_control/credentials/{key}", json=script) as response:
        return response.status


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [
        ("last", [429, 200, 500, 500, 500]),
        ("loop", [429, 200, 500, 429, 200]),
        ("once-then-ok", [429, 200, 500, 200, 200]),
    ],
)
async def test_a_script_gives_one_step_a_call_and_repeats_as_told(
    http: aiohttp.ClientSession, repeat: str, expected: list[int]
) -> None:
    steps = [
        {"kind": "status", "status": 429, "retry_after": "2"},
        {"kind": "ok"},
        {"kind": "status", "status": 500},
    ]
    assert await put(http, "any-word", {"script": steps, "repeat": repeat}) == 200

    assert [(await complete(http, "any-word"))[0] for _ in expected] == expected


async def test_a_deleted_script_leaves_the_credential_to_its_own_markers(
    http: aiohttp.ClientSession,
) -> None:
    await put(http, "sk-x-429-x", {"script": [{"kind": "ok"}]})
    scripted = await complete(http, "sk-x-429-x")
    async with http.delete("/_control/credentials/sk-x-429-x") as response:
        assert (await response.json()) == {"deleted": True}

    assert scripted[0] == 200
    assert (await complete(http, "sk-x-429-x"))[0] == 429


@pytest.mark.parametrize(
    "script",
    [
        {"script": []},
        {"script": [{"kind": "dance"}]},
        {"script": [{"kind": "status"}]},
        {"script": [{"kind": "ok", "pause": 1}]},
        {"script": [{"kind": "ok"}], "repeat": "often"},
    ],
)
async def test_a_script_that_makes_no_sense_is_refused(
    http: aiohttp.ClientSession, script: dict[str, Any]
) -> None:
    assert await put(http, "sk-plain", script) == 400


async def test_the_log_can_be_read_on_from_an_index_and_emptied(
    http: aiohttp.ClientSession,
) -> None:
    for key in ("sk-one", "sk-two", "sk-one"):
        await complete(http, key)
    async with http.get("/_control/calls", params={"since": "1"}) as response:
        later = await response.json()
    async with http.get("/_control/calls", params={"credential": "sk-one"}) as response:
        of_one = await response.json()
    async with http.delete("/_control/calls"):
        pass
    await complete(http, "sk-three")
    async with http.get("/_control/calls", params={"since": str(later["next"])}) as response:
        after = await response.json()

    assert [call["credential"] for call in later["calls"]] == ["sk-two", "sk-one"]
    assert [call["index"] for call in of_one["calls"]] == [0, 2]
    assert [call["index"] for call in after["calls"]] == [3]
    assert of_one["calls"][0]["usage"]["completion_tokens"] == 6


async def test_listing_models_takes_no_step_and_is_no_call(
    http: aiohttp.ClientSession, simulator: Simulator
) -> None:
    await put(http, "sk-plain", {"script": [{"kind": "status", "status": 429}, {"kind": "ok"}]})
    headers = {"Authorization": "Bearer sk-plain"}
    for _ in range(2):
        async with http.get("/v1/models", headers=headers) as response:
            assert response.status == 429

    assert not simulator.calls.since()
    assert (await complete(http, "sk-plain"))[0] == 429


async def test_bodies_that_are_no_json_and_paths_that_do_not_exist_get_openais_errors(
    http: aiohttp.ClientSession,
) -> None:
    headers = {"Authorization": "Bearer sk-plain"}
    async with http.post("/v1/chat/completions", data=b"{oops", headers=headers) as response:
        broken = await response.json()
        assert response.status == 400
    async with http.post("/v1/responses", headers=headers) as response:
        unknown = await response.json()
        assert response.status == 404

    assert "could not parse the JSON body" in broken["error"]["message"]
    assert unknown["error"]["code"] == "unknown_url"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_huge_answer_has_the_scripted_size(
    http: aiohttp.ClientSession, *, streamed: bool
) -> None:
    await put(http, "sk-huge", {"script": [{"kind": "huge", "size_bytes": 3_000_000}]})
    status, body = await complete(http, "sk-huge", BODY | {"stream": streamed})

    assert status == 200
    assert 3_000_000 < len(body) < 3_010_000


@pytest.mark.parametrize("key", ["sk-x-garbage-x", "sk-x-enddone-x"])
async def test_a_status_of_200_can_come_with_a_body_that_is_no_json(
    http: aiohttp.ClientSession, key: str
) -> None:
    status, body = await complete(http, key)

    assert status == 200
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)


async def test_a_status_of_200_can_come_with_an_error_object(http: aiohttp.ClientSession) -> None:
    status, body = await complete(http, "sk-x-errorfirst-x")

    assert status == 200
    assert msgspec.json.decode(body)["error"]["type"] == "server_error"


async def test_hostile_bodies_and_keys_get_a_4xx(http: aiohttp.ClientSession) -> None:
    deep = b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for body in (b"", b"[]", b"null", b"\xff\xfe", b'{"messages": [5]}', deep):
        headers = {"Authorization": "Bearer sk-plain"}
        async with http.post("/v1/chat/completions", data=body, headers=headers) as response:
            assert (response.status, "error" in await response.json()) == (400, True)
    async with http.post(
        "/v1/chat/completions", json=BODY, headers={"Authorization": "Bearer \udcff\udcfe"}
    ) as response:
        assert response.status == 401


async def test_the_file_tells_every_call_and_never_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with path.open("ab", buffering=0) as file:
        log = CallLog(SystemClock(), id_prefix="file", file=file, calls_max=1)
        async with (
            running_simulator(log) as simulator,
            aiohttp.ClientSession(simulator.url) as http,
        ):
            for key in ("sk-one", "sk-x-500-x", "sk-x-enddone-x"):
                await complete(http, key, BODY | {"stream": key == "sk-one"})
            file.write(b'{"event":"start","id":"torn')
            kept_in_memory = log.since()

    calls = read_calls(path)
    assert [call.outcome for call in calls] == ["completed", "failed", "failed"]
    assert calls[0].usage == usage.Usage(prompt_tokens=5, completion_tokens=6)
    assert calls[1].usage is None
    assert len(kept_in_memory) == 1
    assert b"hello" not in path.read_bytes()
