"""How many generations a second one billing process books in PostgreSQL, without Kafka.

    python -m tests.bench.posting POSTGRES_URL [generations] [batch] [accounts]

Half of them are waived, a quarter pays a fee from credits, a quarter is charged; each
account has one key of its own. The batches are decoded from JSON as they would be from Kafka, and what they write to the outbox is published to
nowhere and deleted as ever. Prints one JSON object.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal

import uvloop

from services.billing.domain.credits import add_credits
from services.billing.domain.policy import FeePolicy
from services.billing.outbound.account_states import AccountStates
from services.billing.outbound.postgres_ledger import PostgresLedger
from services.billing.outbound.postgres_upkeep import PostgresUpkeep
from services.billing.outbound.prometheus_observer import PrometheusObserver
from services.billing.ports.ledger import Scope, Transaction
from services.billing.use_cases.check_books import check_books
from services.billing.use_cases.keep_house import KeepHouse
from services.billing.use_cases.post_facts import PostFacts
from services.billing.wiring import MIGRATIONS
from shared.clock import SystemClock
from shared.events import codec
from shared.events.billing import AddCredits
from shared.events.generations import AttemptReceipt, GenerationFinished, Spend
from shared.events.topics import INFERENCE_GENERATIONS
from shared.events.usage import Prices, Usage
from shared.ids import (
    AccountId,
    ApiKeyHash,
    CredentialId,
    InstanceId,
    RunId,
    new_generation_id,
    new_id,
)
from shared.kafka.config import KafkaConfig
from shared.kafka.facts import BATCH_RECORDS_MAX, lanes_of
from shared.kafka.producer import EventProducer, partition_by_key
from shared.kafka.record import Record
from shared.postgres.config import PostgresConfig
from shared.postgres.migrate import migrate
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import open_pool
from shared.postgres.publications import Publications
from shared.secret import Secret
from shared.tasks import TaskScope
from shared.telemetry.logging import configure_logging
from shared.telemetry.metrics import Metrics

_PARTITIONS = INFERENCE_GENERATIONS.partitions
_SPENDS = (Spend(waived=True), Spend(waived=True), Spend(fee_percent=Decimal(5)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Generations a second: booked, and found to be booked already when they come again."""

    booked_per_second: float
    repeated_per_second: float
    problems: list[str]


class _Discarded:
    """Kafka's place: acknowledges at once."""

    async def send(self, record: Record) -> None:
        """Discard one."""

    async def send_many(self, records: object) -> None:
        """Discard them."""


def _record(number: int, account: AccountId) -> Record:
    now = datetime.now(UTC)  # noqa: TID251 - a tool
    spend = _SPENDS[number % len(_SPENDS)]
    fact = GenerationFinished(
        generation_id=new_generation_id(),
        run_id=RunId(new_id()),
        account_id=account,
        api_key_hash=ApiKeyHash("ab" * 32),
        outcome="completed",
        is_byok=spend is not None,
        model="openai/gpt-4o",
        provider="openai",
        endpoint="openai",
        credential_id=CredentialId(f"{account}-own") if spend is not None else None,
        usage=Usage(prompt_tokens=100, completion_tokens=50),
        prices=Prices(prompt=2_500_000, completion=10_000_000),
        spend=spend,
        attempts=(
            AttemptReceipt(
                provider="openai",
                endpoint="openai",
                model="openai/gpt-4o",
                tier="prioritized",
                status=200,
                latency_ms=321,
            ),
        ),
        started_at=now,
        finished_at=now,
    )
    return codec.encode(
        INFERENCE_GENERATIONS, fact, key=account, event_id=new_id(), source="measure", time=now
    )


def _decoded(records: list[Record]) -> list[codec.Received]:
    return [
        codec.decode(
            topic=each.topic,
            partition=partition_by_key(each.key, _PARTITIONS),
            offset=offset,
            key=each.key,
            value=each.value,
            headers=each.headers,
        )
        for offset, each in enumerate(records)
    ]


async def _measure(url: str, generations: int, batch: int, accounts: int) -> Posting:
    clock = SystemClock()
    policy = FeePolicy(fee_percent=Decimal(5), free_requests=1_000_000)
    producer = EventProducer(
        KafkaConfig(bootstrap_servers="nowhere:1"),
        source=InstanceId("measure"),
        clock=clock,
        new_id=new_id,
    )
    async with (
        open_pool(
            PostgresConfig(url=Secret(url)), application_name="measure", plans_once=True
        ) as pool,
        TaskScope() as scope,
    ):
        await migrate(pool, MIGRATIONS)
        await pool.expire_connections()
        relay = OutboxRelay(pool, _Discarded(), AccountStates(producer, clock, policy))
        publications = Publications(relay)
        scope.start(relay.run(), name="outbox")
        ledger = PostgresLedger(pool, producer, publications, clock)
        observer = PrometheusObserver(Metrics())
        await KeepHouse(ledger, PostgresUpkeep(pool), clock, observer).open_months()
        post = PostFacts(ledger, policy, clock, observer)
        names = [AccountId(new_id()) for _ in range(accounts)]

        async def top_up(transaction: Transaction) -> None:
            page = await transaction.read_page(Scope(account_ids=set(names)))
            for name in names:
                add_credits(
                    page, AddCredits(account_id=name, amount_nano_usd=10**15, key="k"), "2026-01"
                )
            await transaction.store(page)

        await ledger.transact(top_up)
        records = [_record(number, names[number % accounts]) for number in range(generations)]
        rates: list[float] = []
        for _ in range(2):
            began = clock.monotonic()
            for start in range(0, generations, batch):
                received = _decoded(records[start : start + batch])
                await asyncio.gather(*map(post, lanes_of(received)))
                await publications.publish_waiting()
            rates.append(generations / (clock.monotonic() - began))
        return Posting(
            booked_per_second=rates[0],
            repeated_per_second=rates[1],
            problems=(await check_books(ledger))["problems"],
        )


if __name__ == "__main__":
    configure_logging("measure", "measure", "error")
    given = [int(argument) for argument in sys.argv[2:]]
    uvloop.install()
    found = asyncio.run(
        _measure(sys.argv[1], *(given + [20_000, BATCH_RECORDS_MAX, 50][len(given) :]))
    )
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
