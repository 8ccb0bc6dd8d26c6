"""Load on one URL, by the same client on both sides: wrk where it is installed, else aiohttp.

    python -m tests.bench.load plain|streams URL KEY MODEL CONNECTIONS SECONDS

prints one JSON object. Only loopback addresses are accepted; time and connections are bounded.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import uvloop

_SECONDS_MAX: Final = 60.0
_CONNECTIONS_MAX: Final = 512
_WORDS: Final = 40
_PAUSE_MS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one load saw; times in milliseconds. For streams the percentiles are of the first byte."""

    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int
    client: str


def body_of(model: str, *, stream: bool) -> str:
    """A request of some 50 words; a stream of 40 chunks, 10 ms apart."""
    asked = f"words={_WORDS}" + (f" pause_ms={_PAUSE_MS}" if stream else "")
    prompt = "hi " * 50 + asked
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    return json.dumps(body | ({"stream": True} if stream else {}))


def _only_here(url: str) -> None:
    if urlsplit(url).hostname not in {"127.0.0.1", "localhost"}:
        raise SystemExit("load goes to loopback addresses only")


def plain(url: str, key: str, model: str, *, connections: int, seconds: float) -> Load:
    """As many plain requests as `connections` closed loops make in `seconds`."""
    _only_here(url)
    if shutil.which("wrk"):
        return _wrk(url, key, model, connections=connections, seconds=seconds)
    return uvloop.run(_closed_loops(url, key, model, connections, seconds, stream=False))


def _wrk(url: str, key: str, model: str, *, connections: int, seconds: float) -> Load:
    body = body_of(model, stream=False).replace("\\", "\\\\").replace("'", "\\'")
    script = (
        'wrk.method = "POST"\n'
        f"wrk.body = '{body}'\n"
        'wrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "Bearer {key}"\n'
        "done = function(summary, latency, requests)\n"
        '  io.write(string.format("RESULT %f %f %f %d\\n",'
        " summary.requests / summary.duration * 1e6,"
        " latency:percentile(50) / 1000, latency:percentile(99) / 1000,"
        " summary.errors.status + summary.errors.read + summary.errors.timeout"
        " + summary.errors.connect + summary.errors.write))\n"
        "end\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "post.lua"
        file.write_text(script, encoding="utf-8")
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(file), url],
            capture_output=True,
            text=True,
            timeout=_SECONDS_MAX + 30,
            check=True,
        )
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+)", done.stdout)
    if found is None:
        raise SystemExit(f"wrk printed no result: {done.stdout}")
    per_second, p50, p99, failed = found.groups()
    return Load(
        per_second=float(per_second),
        p50_ms=float(p50),
        p99_ms=float(p99),
        failed=int(failed),
        client="wrk",
    )


def streams(url: str, key: str, model: str, *, connections: int, seconds: float) -> Load:
    """As many streams as `connections` closed loops make in `seconds`."""
    _only_here(url)
    return uvloop.run(_closed_loops(url, key, model, connections, seconds, stream=True))


async def _closed_loops(
    url: str, key: str, model: str, connections: int, seconds: float, *, stream: bool
) -> Load:
    body = body_of(model, stream=stream).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    first_bytes: list[float] = []
    whole: list[float] = []
    failed = 0
    end = time.perf_counter() + seconds

    async def loop(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while time.perf_counter() < end:
            begun = time.perf_counter()
            first: float | None = None
            async with session.post(url, data=body, headers=headers) as response:
                tail = b""
                async for piece in response.content.iter_any():
                    if first is None:
                        first = time.perf_counter() - begun
                    tail = (tail + piece)[-64:]
            if response.status == 200 and (not stream or b"[DONE]" in tail) and first is not None:
                first_bytes.append(first)
                whole.append(time.perf_counter() - begun)
            else:
                failed += 1

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(loop(session) for _ in range(connections)))
        took = time.perf_counter() - begun
    times = sorted(first_bytes if stream else whole) or [0.0]
    return Load(
        per_second=len(whole) / took,
        p50_ms=times[len(times) // 2] * 1e3,
        p99_ms=times[int(len(times) * 0.99)] * 1e3,
        failed=failed,
        client="aiohttp",
    )


def main(kind: str, url: str, key: str, model: str, connections: str, seconds: str) -> None:
    """Run one load and print what it saw."""
    run = {"plain": plain, "streams": streams}[kind]
    load = run(
        url,
        key,
        model,
        connections=min(int(connections), _CONNECTIONS_MAX),
        seconds=min(float(seconds), _SECONDS_MAX),
    )
    sys.stdout.write(json.dumps(asdict(load)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:7])
