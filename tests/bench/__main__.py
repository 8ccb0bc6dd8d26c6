"""`make bench`: the governed product beside two bare aiohttp hops, interleaved in one run.

Governed means: API key checked, the account's own credential opened, allotment looked at, content
sealed both ways, the fact durable before the answer, posted in PostgreSQL. Machines are noisy: read
the ratios, not the absolute numbers.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import requests
from aiokafka import TopicPartition

from deploy.local.options import Options
from deploy.local.places import REPOSITORY
from deploy.local.ports import HOST
from deploy.local.private_files import read_json
from deploy.local.simulator import SIMULATOR
from deploy.local.stack import Stack
from services.billing.inbound.kafka_inbound import FACTS_GROUP
from shared.events.topics import INFERENCE_GENERATIONS
from shared.kafka.admin import partition_counts
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import open_consumer
from tests.bench.adapters import added_by_adapters
from tests.bench.admission import Admission
from tests.bench.posting import Posting
from tests.bench.report import Comparison, Report

MODEL: Final = "openai/gpt-4o"
CREDENTIAL: Final = "sk-bench-own-key"
ROUNDS: Final = 9
WARM_SECONDS: Final = 10
WARM_ROUNDS_MAX: Final = 24
CALM_ROUNDS: Final = 3
COMPILING_SHARE_WARM: Final = 0.1
"""The broker's machine code is made while it runs: cold, it takes three times the CPU a request, and
after a minute of load its compiler still has half of it. It is warm when that has less than this
in CALM_ROUNDS on end: it also rests for a while between two bouts."""
SECONDS: Final = 5
AUTHORIZED_PER_SECOND: Final = 100
AUTHORIZED_SECONDS: Final = 10
_LAG_SECONDS_MAX: Final = 60.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two: where load goes, and with which key and model."""

    name: str
    url: str
    key: str
    model: str


def free_port() -> int:
    """A port that nobody listens on now."""
    import socket  # noqa: PLC0415 - only here

    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def bare_hops(upstream: str) -> Iterator[Side]:
    """Two proxies in a row before the same upstream."""
    first, second = free_port(), free_port()
    with ExitStack() as running:
        for port, next_url in ((second, upstream), (first, f"http://{HOST}:{second}/")):
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.bare_hop", str(port), next_url], cwd=REPOSITORY
            )
            running.callback(process.wait, 10)
            running.callback(process.terminate)
        _wait_for(f"http://{HOST}:{first}/")
        yield Side(
            name="two bare hops",
            url=f"http://{HOST}:{first}/chat/completions",
            key=CREDENTIAL,
            model="gpt-4o",
        )


def _wait_for(url: str) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            requests.get(url, timeout=1)
        except requests.ConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def product_of(stack: Stack) -> Side:
    """The product, with the demo account and a credential of its own."""
    demo = stack.manifest["demo"]
    base_url = stack.manifest["base_url"]
    management = {"Authorization": f"Bearer {demo['management_key']}"}
    answer = requests.post(
        f"{base_url}/byok",
        json={"provider": "openai", "key": CREDENTIAL, "always_use": True},
        headers=management,
        timeout=10,
    )
    answer.raise_for_status()
    return Side(
        name="OpenRoute BYOK",
        url=f"{base_url}/chat/completions",
        key=demo["api_key"],
        model=MODEL,
    )


def load(side: Side, kind: str, *, connections: int, seconds: int) -> dict[str, Any]:
    """One load, in a process of its own."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.bench.load",
            kind,
            side.url,
            side.key,
            side.model,
            str(connections),
            str(seconds),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(
    bare: Side, product: Side, kind: str, *, connections: int, report: Report
) -> Comparison:
    """Both sides in turn, several times; the medians."""
    seen: dict[str, list[dict[str, Any]]] = {bare.name: [], product.name: []}
    for round_number in range(ROUNDS):
        for side in (bare, product):
            report.progress(f"{kind} at {connections}, round {round_number + 1}: {side.name}")
            seen[side.name].append(load(side, kind, connections=connections, seconds=SECONDS))
    return Comparison(
        kind=kind,
        connections=connections,
        bare=_median(seen[bare.name]),
        product=_median(seen[product.name]),
        ratios=[
            ours["per_second"] / theirs["per_second"]
            for ours, theirs in zip(seen[product.name], seen[bare.name], strict=True)
        ],
    )


def _median(loads: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = {
        name: statistics.median(load[name] for load in loads)
        for name in ("per_second", "p50_ms", "p99_ms")
    }
    return {
        **numbers,
        "failed": sum(load["failed"] for load in loads),
        "client": loads[0]["client"],
    }


def warm(product: Side, broker_pid: int, report: Report) -> None:
    """Load until the broker's compiler is all but at rest."""
    calm = 0
    for _ in range(WARM_ROUNDS_MAX):
        report.progress(f"warming the broker for {WARM_SECONDS} s")
        used, compiling = cpu_seconds(broker_pid), compiling_seconds(broker_pid)
        load(product, "plain", connections=32, seconds=WARM_SECONDS)
        used, compiling = cpu_seconds(broker_pid) - used, compiling_seconds(broker_pid) - compiling
        report.progress(f"its compiler took {compiling / used:.0%} of its CPU")
        calm = calm + 1 if compiling < used * COMPILING_SHARE_WARM else 0
        if calm == CALM_ROUNDS:
            return


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def compiling_seconds(pid: int) -> float:
    """CPU that the compilers of a Java process have used so far."""
    return sum(
        thread.user_time + thread.system_time
        for thread in psutil.Process(pid).threads()
        if _is_compiler(pid, thread.id)
    )


def _is_compiler(pid: int, thread_id: int) -> bool:
    try:
        name = Path(f"/proc/{pid}/task/{thread_id}/comm").read_text(encoding="ascii")
    except FileNotFoundError:  # they come and go
        return False
    return "CompilerThre" in name


def rss_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"process {pid} has no resident memory")


def billing_lag(stack: Stack) -> float:
    """Seconds from now until billing's group has committed every fact there is."""
    return asyncio.run(_until_committed(str(stack.manifest["kafka"])))


async def _until_committed(bootstrap_servers: str) -> float:
    begun = time.monotonic()
    counts = await partition_counts(bootstrap_servers, [INFERENCE_GENERATIONS.name])
    partitions = [
        TopicPartition(name, number) for name, count in counts.items() for number in range(count)
    ]
    async with open_consumer(
        KafkaConfig(bootstrap_servers=bootstrap_servers), group=FACTS_GROUP
    ) as consumer:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while time.monotonic() - begun < _LAG_SECONDS_MAX:
            committed = [(await consumer.committed(each)) or 0 for each in partitions]
            if committed == [ends[each] for each in partitions]:
                return time.monotonic() - begun
            await asyncio.sleep(_POLL_SECONDS)
    raise TimeoutError("billing did not catch up")


def admission_of(stack: Stack) -> Admission:
    """`AuthorizeSpend` at a steady rate."""
    servers = str(stack.manifest["kafka"])
    return Admission(
        **_measured("admission", servers, str(AUTHORIZED_PER_SECOND), str(AUTHORIZED_SECONDS))
    )


def posting_of(stack: Stack) -> Posting:
    """Generations booked in the stack's own PostgreSQL."""
    return Posting(**_measured("posting", str(stack.manifest["postgres"]["billing"])))


def _measured(module: str, *arguments: str) -> dict[str, Any]:
    """What a program beside this one measured, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{module}", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    """Measure, print and write the report; 0."""
    report = Report(REPOSITORY / ".local" / "bench")
    report.progress("what each provider's adapter adds to a bare call")
    report.added = added_by_adapters()
    stack = Stack(Options(root=REPOSITORY / ".local" / "bench-stack"), output=sys.stdout)
    stack.up()
    try:
        ports = read_json(stack.places.ports) or {}
        upstream = f"http://{HOST}:{ports[SIMULATOR]}/v1/chat/completions"
        with bare_hops(upstream) as bare:
            product = product_of(stack)
            warm(product, stack.manifest["pids"]["kafka"], report)
            load(bare, "plain", connections=32, seconds=2)
            report.add(compare(bare, product, "plain", connections=1, report=report))
            report.add(compare(bare, product, "plain", connections=32, report=report))
            report.lag_seconds = billing_lag(stack)
            report.progress(f"AuthorizeSpend at {AUTHORIZED_PER_SECOND} a second")
            report.admission = admission_of(stack)
            report.progress("generations posted a second")
            report.posting = posting_of(stack)
            # last, since a bare hop that has carried 200 streams stays a sixth slower
            report.add(compare(bare, product, "streams", connections=200, report=report))
        report.rss = {name: rss_megabytes(pid) for name, pid in stack.manifest["pids"].items()}
        report.write()
    finally:
        stack.clean()
    return 0


if __name__ == "__main__":
    sys.exit(main())
