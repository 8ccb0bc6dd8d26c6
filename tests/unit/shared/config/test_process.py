"""A process is tried from outside, as a supervisor sees it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[4]
PROGRAM = """
import asyncio, os, resource, sys
from dataclasses import dataclass
from shared.config.environment import setting
from shared.process import Stop, run

@dataclass(frozen=True, kw_only=True)
class Config:
    deed: str = setting("DEED", "what to do", example="wait")

async def main(config: Config, stop: Stop) -> None:
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    if config.deed == "crash":
        api_key = "sk-or-v1-" + "a" * 40
        raise RuntimeError("could not call with " + api_key)
    if config.deed == "leave":
        return
    sys.stdout.write(type(asyncio.get_running_loop()).__module__ + "\\n")
    sys.stdout.flush()
    await stop.wait()

sys.exit(run("tried", Config, os.environ, sys.argv[1:], main))
"""


@asynccontextmanager
async def started(
    environment: Mapping[str, str], *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        *arguments,
        cwd=REPOSITORY,
        env={"PATH": os.defpath, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            _ = await process.wait()


async def outcome(
    environment: Mapping[str, str], *arguments: str
) -> tuple[int | None, list[str], list[str]]:
    async with asyncio.timeout(20), started(environment, *arguments) as process:
        stdout, stderr = await process.communicate()
        return process.returncode, stdout.decode().splitlines(), stderr.decode().splitlines()


async def test_wrong_settings_end_it_with_2_and_one_line_for_each_problem() -> None:
    code, stdout, stderr = await outcome({"LOG_LEVEL": "loud"})

    assert code == 2
    assert stdout == []
    assert len(stderr) == 3
    assert {line.split()[0] for line in stderr} == {"LOG_LEVEL", "HEALTH_PORT", "DEED"}


async def test_checking_the_settings_starts_nothing() -> None:
    code, stdout, _ = await outcome({"DEED": "crash", "HEALTH_PORT": "0"}, "--check-config")

    assert (code, stdout) == (0, [])


async def test_an_unknown_argument_is_refused() -> None:
    code, _, stderr = await outcome({"DEED": "wait", "HEALTH_PORT": "0"}, "--chek-config")

    assert code == 2
    assert "--chek-config" in stderr[0]


async def test_it_stops_with_0_when_it_is_asked_to() -> None:
    async with (
        asyncio.timeout(20),
        started({"DEED": "wait", "HEALTH_PORT": "0"}) as process,
    ):
        assert process.stdout is not None
        assert await process.stdout.readline() == b"uvloop\n"
        process.send_signal(signal.SIGTERM)
        last = json.loads((await process.stdout.read()).splitlines()[-1])

        assert await process.wait() == 0
        assert last["event"] == "stopped"
        assert (last["service"], last["instance"]) == ("tried", "tried-0")


async def test_a_crash_is_one_line_without_the_secrets_that_were_at_hand() -> None:
    code, stdout, stderr = await outcome({"DEED": "crash", "HEALTH_PORT": "0"})

    assert code == 1
    assert stderr == []
    [line] = stdout
    assert json.loads(line)["event"] == "crashed"
    assert "could not call with ***" in line
    assert "aaaaaaaa" not in line


async def test_ending_without_having_been_asked_counts_as_a_crash() -> None:
    code, stdout, _ = await outcome({"DEED": "leave", "HEALTH_PORT": "0"})

    assert code == 1
    assert len(stdout) == 1
