"""What each provider's adapter adds to a bare call of the same provider, one at a time and at 32.

    python -m tests.bench.adapters

prints JSON: for each adapter and number of calls at once, the medians of both sides. Both call the same
simulator, in turn and in this process, with the same body; what is compared is building the request,
egress' gates, and reading the answer. To measure another adapter, add a line to `ADAPTERS`.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import uvloop

from deploy.local.places import REPOSITORY
from services.dispatcher.domain.reply import WholeReply
from services.dispatcher.outbound.providers.registry import open_providers
from services.dispatcher.ports import ProviderSecret
from shared.clock import SystemClock
from shared.events.credential_secrets import BedrockApiKeySecret, VertexSecret
from tests.contract.providers.builders import (
    attempt,
    azure_secret,
    request,
    string_secret,
    vertex_secret,
)
from tests.support.pasted_keys import rsa_public_pem

AT_ONCE: Final = (1, 32)
ROUNDS: Final = 3
SECONDS: Final = 0.5
"""Of each side in each round; an adapter takes two numbers of calls x rounds x sides of it."""
_WARM_CALLS: Final = 50
_TEXT: Final = "hi " * 50 + "words=40"

_KEY: Final = "sk-bench-adapter-key"
_AZURE_KEY: Final = "azure-bench-adapter-key"
_BEDROCK_KEY: Final = "ABSKbench-adapter-key"
_NOVA: Final = "amazon.nova-micro-v1:0"
_CLAUDE: Final = "claude-haiku-4-5-20251001"
_PLAIN_BODY: Final = MappingProxyType(
    {"model": "gpt-4o", "messages": [{"role": "user", "content": _TEXT}]}
)
_AZURE_PATH: Final = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One provider: how it is called bare (`path`, `headers`), and the credential for its adapter."""

    slug: str
    base_path: str | None
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, object] = field(default_factory=lambda: _PLAIN_BODY)
    secret: Callable[[str], ProviderSecret]
    model: str = "gpt-4o"


ADAPTERS: Final = (
    Adapter(
        slug="openai",
        base_path="/v1",
        path="/v1/chat/completions",
        headers={"Authorization": f"Bearer {_KEY}"},
        secret=lambda _url: string_secret(_KEY),
    ),
    Adapter(
        slug="azure",
        base_path=None,
        path=_AZURE_PATH,
        headers={"api-key": _AZURE_KEY},
        secret=lambda url: azure_secret(url + _AZURE_PATH, _AZURE_KEY),
    ),
    Adapter(
        slug="anthropic",
        base_path="",
        path="/v1/messages",
        headers={"x-api-key": _KEY, "anthropic-version": "2026-10-21"},
        body={
            "model": _CLAUDE,
            "max_tokens": 1000,
            "messages": [{"role": "user", "content": _TEXT}],
        },
        model=_CLAUDE,
        secret=lambda _url: string_secret(_KEY),
    ),
    Adapter(
        slug="google-vertex",
        base_path="",
        # What is bare is the simulator's OpenAI wire: the token of Vertex's own is the adapter's.
        path="/v1/chat/completions",
        headers={"Authorization": f"Bearer {_KEY}"},
        secret=lambda _url: vertex_secret("sk-bench-adapter-key"),
        model="gemini-2.5-flash",
    ),
    Adapter(
        slug="amazon-bedrock",
        base_path="/bedrock/{region}",
        path=f"/bedrock/us-east-1/model/{_NOVA}/converse",
        headers={"Authorization": f"Bearer {_BEDROCK_KEY}"},
        body={"messages": [{"role": "user", "content": [{"text": _TEXT}]}]},
        model=_NOVA,
        secret=lambda _url: BedrockApiKeySecret(api_key=_BEDROCK_KEY, region="us-east-1"),
    ),
)
"""`base_path` is what PROVIDER_ENDPOINTS gets; None where credentials name the address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Medians over the rounds: of a call's milliseconds and of calls in a second, on both sides."""

    adapter: str
    at_once: int
    bare_p50_ms: float
    adapter_p50_ms: float
    bare_per_second: float
    adapter_per_second: float

    @property
    def added_ms(self) -> float:
        """What the adapter adds to a call."""
        return self.adapter_p50_ms - self.bare_p50_ms


@contextmanager
def simulator() -> Iterator[str]:
    """A simulator in a process of its own; its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.simulator", "--port", "0", "--no-log"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@asynccontextmanager
async def both_sides(
    adapter: Adapter, url: str
) -> AsyncIterator[tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]]:
    """One bare call, and one by the adapter."""
    endpoints = {} if adapter.base_path is None else {adapter.slug: url + adapter.base_path}
    endpoints["google-oauth"] = url + "/token"
    async with (
        open_providers(
            endpoints=endpoints,
            egress_allow=frozenset({urlsplit(url).netloc}),
            clock=SystemClock(),
        ) as providers,
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):
        secret = adapter.secret(url)
        if isinstance(secret, VertexSecret):
            known = f"{url}/_control/service_accounts/{secret.client_email}"
            async with session.put(known, json={"public_key": rsa_public_pem()}) as response:
                response.raise_for_status()
        body = json.dumps(dict(adapter.body)).encode()
        headers = {**adapter.headers, "Content-Type": "application/json"}
        provider, asked = providers[adapter.slug], request(_TEXT)
        to = attempt(adapter.slug, provider_model=adapter.model)

        async def bare() -> None:
            async with session.post(url + adapter.path, data=body, headers=headers) as response:
                await response.read()
                response.raise_for_status()

        async def adapted() -> None:
            answer = await provider.complete(to, secret, asked)
            if not isinstance(answer, WholeReply):
                raise SystemExit(f"{adapter.slug} failed: {answer}")

        yield bare, adapted


async def load(call: Callable[[], Awaitable[None]], at_once: int) -> tuple[float, float]:
    """Closed loops for a while: the median of a call in milliseconds, and calls a second."""
    times: list[float] = []
    begun = time.perf_counter()
    end = begun + SECONDS

    async def loop() -> None:
        while (start := time.perf_counter()) < end:
            await call()
            times.append(time.perf_counter() - start)

    await asyncio.gather(*(loop() for _ in range(at_once)))
    return statistics.median(times) * 1e3, len(times) / (time.perf_counter() - begun)


async def measure(adapter: Adapter, url: str) -> list[Added]:
    """Both sides in turn, several times."""
    found: list[Added] = []
    async with both_sides(adapter, url) as sides:
        for call in sides:
            for _ in range(_WARM_CALLS):
                await call()
        for at_once in AT_ONCE:
            rounds = [[await load(call, at_once) for call in sides] for _ in range(ROUNDS)]
            bare, adapted = zip(*rounds, strict=True)
            found.append(
                Added(
                    adapter=adapter.slug,
                    at_once=at_once,
                    bare_p50_ms=statistics.median(p50 for p50, _ in bare),
                    adapter_p50_ms=statistics.median(p50 for p50, _ in adapted),
                    bare_per_second=statistics.median(rate for _, rate in bare),
                    adapter_per_second=statistics.median(rate for _, rate in adapted),
                )
            )
    return found


async def _all() -> list[Added]:
    with simulator() as url:
        return [added for adapter in ADAPTERS for added in await measure(adapter, url)]


def added_by_adapters() -> list[Added]:
    """Measure them all in a process of its own, on uvloop, as a dispatcher runs."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.adapters"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60 + 20 * len(ADAPTERS),
        check=True,
    )
    return [Added(**each) for each in json.loads(done.stdout)]


if __name__ == "__main__":
    sys.stdout.write(json.dumps([asdict(each) for each in uvloop.run(_all())], indent=2) + "\n")
