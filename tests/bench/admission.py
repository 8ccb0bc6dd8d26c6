"""How long `AuthorizeSpend` takes at a steady rate, over real Kafka and PostgreSQL.

    python -m tests.bench.admission BOOTSTRAP_SERVERS PER_SECOND SECONDS

Calls go out by the dispatcher's own client at their appointed times, whatever became of those
before, and each time is counted from the appointed one. Half ask for shared capacity, half for a
waived request with an own key; each is finished at once, so that billing posts as much as it admits.
Prints one JSON object.
"""

import asyncio
import json
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Final

import uvloop

from services.dispatcher.outbound.kafka_facts import KafkaFacts
from services.dispatcher.outbound.kafka_spending import KafkaSpending
from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.events.billing import AddCredits, AuthorizeSpend, SpendAuthorized
from shared.events.generations import GenerationFinished, Spend
from shared.events.topic import Topic
from shared.events.topics import BILLING_COMMANDS, DISPATCHER_REPLIES, OPERATIONS_REPLIES
from shared.events.usage import Prices, Usage
from shared.ids import (
    AccountId,
    ApiKeyHash,
    HoldId,
    InstanceId,
    RunId,
    new_generation_id,
    new_id,
)
from shared.kafka.admin import partition_counts
from shared.kafka.calls import Calls
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import EventProducer, open_producer
from shared.kafka.readers import PartitionReader
from shared.tasks import TaskScope
from shared.telemetry.logging import configure_logging

ACCOUNTS: Final = 20
WARM_SECONDS: Final = 5
_CREDITS_NANO_USD: Final = 10**15
_READY_SECONDS: Final = 30.0
_CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Times of the calls in milliseconds; `failed` were refused or not answered."""

    per_second: float
    calls: int
    p50_ms: float
    p99_ms: float
    failed: int


@dataclass(slots=True)
class _Seen:
    took_ms: list[float] = field(default_factory=list)
    failed: int = 0


@asynccontextmanager
async def _calls(
    config: KafkaConfig, producer: EventProducer, topic: Topic
) -> AsyncIterator[Calls]:
    """A caller whose replies come by the topic's last partition, which no process of the stack has."""
    counts = await partition_counts(config.bootstrap_servers, [topic.name])
    partition = counts[topic.name] - 1
    calls = Calls(
        producer, reply_topic=topic, reply_partition=partition, clock=_CLOCK, new_id=new_id
    )
    reader = PartitionReader(
        config,
        topic=topic,
        partition=partition,
        start="end",
        on_record=calls.on_record,
        dead_letters=DeadLetters(producer, consumer="bench", clock=_CLOCK),
        clock=_CLOCK,
    )
    async with TaskScope() as scope:
        scope.start(reader.run(asyncio.Event()), name="replies")
        async with asyncio.timeout(_READY_SECONDS):
            await reader.ready.wait()
        yield calls


class _Load:
    def __init__(
        self, spending: KafkaSpending, facts: KafkaFacts, accounts: list[AccountId]
    ) -> None:
        self._spending = spending
        self._facts = facts
        self._accounts = accounts

    async def run(self, per_second: int, seconds: float) -> _Seen:
        """Calls at their times; returns once all are answered."""
        seen = _Seen()
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with TaskScope() as scope:
            for number in range(int(per_second * seconds)):
                due = begin + number / per_second
                await asyncio.sleep(due - loop.time())
                scope.start(self._one(number, due, seen), name="call")
            await scope.drain(_READY_SECONDS)
        return seen

    async def _one(self, number: int, due: float, seen: _Seen) -> None:
        command = self._command(number)
        try:
            answer = await self._spending.authorize(command)
            took = asyncio.get_running_loop().time() - due
            if not isinstance(answer, SpendAuthorized):
                seen.failed += 1
                return
            seen.took_ms.append(took * 1_000)
            await self._facts.finished(_finished(command, answer))
        except Unavailable:
            seen.failed += 1

    def _command(self, number: int) -> AuthorizeSpend:
        generation_id, run_id = new_generation_id(), RunId(new_id())
        return AuthorizeSpend(
            hold_id=HoldId(f"{generation_id}/{run_id}/0"),
            generation_id=generation_id,
            run_id=run_id,
            account_id=self._accounts[number % len(self._accounts)],
            api_key_hash=ApiKeyHash("ab" * 32),
            is_byok=number % 2 == 0,
            provider="openai",
            worst_case_nano_usd=10_000_000,
            worst_case_tokens=1_500,
            hold_until=_CLOCK.now() + timedelta(minutes=10),
        )


def _finished(command: AuthorizeSpend, answer: SpendAuthorized) -> GenerationFinished:
    now = _CLOCK.now()
    return GenerationFinished(
        generation_id=command.generation_id,
        run_id=command.run_id,
        account_id=command.account_id,
        api_key_hash=command.api_key_hash,
        outcome="completed",
        is_byok=command.is_byok,
        model="openai/gpt-4o",
        provider=command.provider,
        endpoint="openai/gpt-4o",
        usage=Usage(prompt_tokens=500, completion_tokens=100),
        prices=Prices(prompt=2_500_000, completion=10_000_000),
        spend=Spend(hold_id=answer.hold_id, waived=answer.waived, fee_percent=answer.fee_percent),
        attempts=(),
        started_at=now,
        finished_at=now,
    )


async def _measure(bootstrap_servers: str, per_second: int, seconds: int) -> Admission:
    config = KafkaConfig(bootstrap_servers=bootstrap_servers)
    accounts = [AccountId(new_id()) for _ in range(ACCOUNTS)]
    async with open_producer(
        config, source=InstanceId("bench"), clock=_CLOCK, new_id=new_id
    ) as producer:
        async with _calls(config, producer, OPERATIONS_REPLIES) as operations:
            for account in accounts:
                await operations.call(
                    BILLING_COMMANDS,
                    AddCredits(account_id=account, amount_nano_usd=_CREDITS_NANO_USD, key="bench"),
                    key=account,
                    callee="billing",
                    deadline_seconds=_READY_SECONDS,
                )
        async with _calls(config, producer, DISPATCHER_REPLIES) as calls:
            load = _Load(KafkaSpending(calls), KafkaFacts(producer), accounts)
            await load.run(per_second, WARM_SECONDS)
            seen = await load.run(per_second, seconds)
    percentiles = statistics.quantiles(seen.took_ms, n=100)
    return Admission(
        per_second=per_second,
        calls=len(seen.took_ms),
        p50_ms=percentiles[49],
        p99_ms=percentiles[98],
        failed=seen.failed,
    )


if __name__ == "__main__":
    configure_logging("bench", "bench", "error")
    servers, wanted_per_second, wanted_seconds = sys.argv[1:]
    found = uvloop.run(_measure(servers, int(wanted_per_second), int(wanted_seconds)))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
