"""`make bench-rotation`: rotate Vault's key and rewrap 10,000 credentials under load.

A hundred accounts keep a hundred credentials each, added through `credentials.commands` as ingress
adds them. While `make vault-rotate` runs, requests come at a steady rate, each account's in turn, so
that keys are opened under the old version, under the new one, and in between. None may fail.
"""

import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg

from deploy.local.environment import bare_environment, python
from deploy.local.options import Options
from deploy.local.places import REPOSITORY
from deploy.local.stack import Stack
from deploy.tap import Tap, tap
from services.ingress.config import OperationsConfig
from services.ingress.operations import accounts
from services.ingress.operations.connections import open_connections
from shared.config.environment import load
from shared.events.credentials import CredentialsHeartbeat
from shared.events.topics import CREDENTIALS_STATE
from shared.ids import AccountId
from shared.kafka.config import KafkaConfig
from tests.bench.load import body_of
from tests.conftest import Infrastructure
from tests.integration.key_vault.client import Client, open_client

CREDENTIALS: Final = 10_000
ACCOUNTS: Final = 100
REQUESTS_PER_SECOND: Final = 40
MODEL: Final = "openai/gpt-4o"
_ADDED_AT_ONCE: Final = 64
_CALL_SECONDS: Final = 60.0
_REQUEST_SECONDS: Final = 60.0
_BESIDE_SECONDS: Final = 5.0
"""How long the load goes on before and after the rotation."""
_ROWS: Final = "select count(*) from credentials where ciphertext like $1 || '%'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom a request is from."""

    account_id: AccountId
    api_key: str


@dataclass(slots=True)
class Seen:
    """What the load saw; times in seconds."""

    took: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


async def make_accounts(stack: Stack, number: int) -> list[Account]:
    """Accounts, by the operators' command in this process: a process for each would take minutes."""
    config = load(OperationsConfig, stack.service_environment("ingress"))
    made: list[Account] = []
    async with open_connections(config) as connections:
        for place in range(number):
            outcome = await accounts.create(connections, name=f"bench {place}")
            printed = outcome.printed
            made.append(Account(account_id=printed["account_id"], api_key=printed["api_key"]))
    return made


async def add_credentials(client: Client, owners: list[Account], number: int) -> None:
    """Through Transit, Kafka, key_vault and PostgreSQL, many calls in flight."""
    slots = asyncio.Semaphore(_ADDED_AT_ONCE)

    async def add(place: int) -> None:
        mine = replace(client, account=owners[place % len(owners)].account_id)
        async with slots:
            await mine.add("openai", f"sk-bench-{place:06d}-AbCd", always_use=True)

    await asyncio.gather(*(add(place) for place in range(number)))


async def steady_load(stack: Stack, owners: list[Account], stop: asyncio.Event) -> Seen:
    """Requests at a fixed rate, whether or not those before are answered, until `stop`."""
    seen = Seen()
    url = f"{stack.manifest['base_url']}/chat/completions"
    body = body_of(MODEL, stream=False)
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:

        async def one(owner: Account) -> None:
            begun = time.perf_counter()
            headers = {
                "Authorization": f"Bearer {owner.api_key}",
                "Content-Type": "application/json",
            }
            try:
                async with session.post(url, data=body, headers=headers) as response:
                    answer: Any = await response.json()
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                seen.failures[type(error).__name__] += 1
                return
            if response.status != 200:
                seen.failures[f"{response.status} {json.dumps(answer)[:120]}"] += 1
            elif answer["usage"]["is_byok"] is not True:
                seen.failures["not served by the account's own key"] += 1
            else:
                seen.took.append(time.perf_counter() - begun)

        due, place = time.perf_counter(), 0
        while not stop.is_set():
            group.create_task(one(owners[place % len(owners)]))
            place += 1
            due += 1 / REQUESTS_PER_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
    return seen


async def rotate(stack: Stack) -> float:
    """`make vault-rotate`, its progress shown; the seconds it took."""
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        python(),
        "-m",
        "deploy.local",
        "--root",
        str(stack.places.root),
        "vault-rotate",
        cwd=REPOSITORY,
        env={**bare_environment(), "PYTHONPATH": str(REPOSITORY)},
    )
    if await process.wait() != 0:
        raise SystemExit("vault-rotate failed")
    return time.perf_counter() - begun


async def rows_at(stack: Stack, version: int) -> int:
    """How many rows are at a version of the key."""
    database = await asyncpg.connect(stack.manifest["postgres"]["key_vault"])
    try:
        found: int = await database.fetchval(_ROWS, f"vault:v{version}:")
    finally:
        await database.close()
    return found


def longest_silence(events: Tap) -> float:
    """Seconds between two heartbeats of `credentials.state`; they are due every two."""
    sent = [
        each.event.sent_at for each in events.seen if isinstance(each.event, CredentialsHeartbeat)
    ]
    return max((later - before).total_seconds() for before, later in pairwise(sent))


async def measure(stack: Stack, credentials: int) -> dict[str, Any]:
    """Fill, load, rotate."""
    kafka = KafkaConfig(bootstrap_servers=str(stack.manifest["kafka"]))
    begun = time.perf_counter()
    owners = await make_accounts(stack, ACCOUNTS)
    async with open_client(Infrastructure(stack)) as client:
        await add_credentials(client, owners, credentials)
        added_seconds = time.perf_counter() - begun
        _say(f"{credentials:,} credentials of {len(owners)} accounts after {added_seconds:.0f} s")
        before, counted_before = await rows_at(stack, 1), len(client.counts)
        stop = asyncio.Event()
        async with tap(kafka, [CREDENTIALS_STATE]) as events, asyncio.TaskGroup() as group:
            loading = group.create_task(steady_load(stack, owners, stop))
            await asyncio.sleep(_BESIDE_SECONDS)
            took = await rotate(stack)
            await asyncio.sleep(_BESIDE_SECONDS)
            stop.set()
        counts = client.counts[counted_before:]
    seen = loading.result()
    after = await rows_at(stack, 2)
    times = sorted(seen.took) or [0.0]
    return {
        "credentials": before,
        "rewrapped": after,
        "left_behind": await rows_at(stack, 1),
        "seconds": round(took, 2),
        "rows_per_second": round(after / took),
        "requests": len(seen.took) + seen.failures.total(),
        "failed": seen.failures.total(),
        "failures": dict(seen.failures),
        "p50_ms": round(statistics.median(times) * 1e3, 1),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 1),
        "longest_ms": round(times[-1] * 1e3, 1),
        "heartbeats": len(counts),
        "heartbeats_with_another_count": sum(told != held for told, held in counts),
        "longest_between_heartbeats_seconds": round(longest_silence(events), 2),
    }


def _say(text: str) -> None:
    sys.stdout.write(f"bench: {text}\n")
    sys.stdout.flush()


def main(root: Path) -> int:
    """Measure and print; 0 when every row was rewrapped and no request failed."""
    stack = Stack(Options(root=root), output=sys.stdout)
    stack.up()
    try:
        report = asyncio.run(measure(stack, CREDENTIALS))
    finally:
        stack.clean()
    _say(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    is_right = report["rewrapped"] == report["credentials"] and not report["left_behind"]
    return 0 if is_right and report["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(REPOSITORY / ".local" / "bench-rotation"))
