"""Builds billing from its parts: beside `operations/connections.py` the only file that names adapters."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.billing.config import BillingConfig
from services.billing.inbound.kafka_inbound import (
    command_server,
    facts_consumer,
    query_server,
)
from services.billing.outbound.account_states import AccountStates
from services.billing.outbound.kafka_heartbeats import KafkaHeartbeats
from services.billing.outbound.postgres_ledger import PostgresLedger
from services.billing.outbound.postgres_reads import PostgresReads
from services.billing.outbound.postgres_upkeep import PostgresUpkeep
from services.billing.outbound.prometheus_observer import PrometheusObserver
from services.billing.use_cases.answer_queries import AnswerQueries
from services.billing.use_cases.keep_house import KeepHouse
from services.billing.use_cases.post_facts import PostFacts
from services.billing.use_cases.send_heartbeats import SendHeartbeats
from services.billing.use_cases.serve_commands import ServeCommands
from shared.clock import Clock
from shared.http.health import Readiness, health_app
from shared.http.server import serve
from shared.ids import new_instance_id
from shared.kafka.calls import CallServer
from shared.kafka.facts import FactsConsumer
from shared.kafka.producer import EventProducer, open_producer
from shared.postgres.migrate import migrate
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import Pool, open_pool
from shared.postgres.publications import Publications
from shared.tasks import TaskScope
from shared.telemetry.metrics import Metrics

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_SERVICE: Final = "billing"
_DRAIN_SECONDS: Final = 10.0
_HEALTH_SHUTDOWN_SECONDS: Final = 1.0
_GATHER_SECONDS: Final = 0.05
"""Nobody's request waits for what billing tells, and telling takes as much CPU as admitting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """A billing process whose connections are open. `ledger` is for tools and tests."""

    ledger: PostgresLedger
    facts: FactsConsumer
    commands: CallServer
    queries: CallServer
    house: KeepHouse
    heartbeats: SendHeartbeats
    publications: Publications
    relay: OutboxRelay

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; batches at hand are finished and published. Raises what broke a part."""
        async with TaskScope() as scope, TaskScope() as consumers:
            consumers.start(self.facts.run(stop), name="facts")
            consumers.start(self.commands.run(stop), name="commands")
            consumers.start(self.queries.run(stop), name="queries")
            for name, work in (
                ("house", self.house.run()),
                ("heartbeats", self.heartbeats.run()),
                ("publications", self.publications.run()),
                ("outbox", self.relay.run()),
            ):
                scope.start(work, name=name)
            await _first_of(stop, consumers.failed, scope.failed)
            for each in (consumers, scope):
                if each.failure is not None:
                    raise each.failure
            await consumers.drain(_DRAIN_SECONDS)
            await self.publications.publish_waiting()


@asynccontextmanager
async def open_billing(
    config: BillingConfig, *, clock: Clock, new_id: Callable[[], str]
) -> AsyncIterator[Billing]:
    """Connect, bring the schema up to date, serve health and metrics; yields the ready parts."""
    ordinal = config.process.instance_ordinal
    instance = new_instance_id(_SERVICE, ordinal)
    metrics, readiness = Metrics(), Readiness()
    async with (
        open_pool(config.postgres, application_name="billing", plans_once=True) as pool,
        open_producer(config.kafka, source=instance, clock=clock, new_id=new_id) as producer,
    ):
        await migrate(pool, MIGRATIONS)
        await pool.expire_connections()  # new ones begin with the role's settings of the migrations
        observer = PrometheusObserver(metrics)
        ledger, publications, relay = _open_ledger(config, pool, producer, clock)
        post = PostFacts(ledger, config.installation, clock, observer)
        facts = facts_consumer(config.kafka, post, producer, clock)
        answer = ServeCommands(
            ledger, config.installation, clock, observer, shared_limits=config.shared_limits
        )
        commands = command_server(config.kafka, answer, producer, clock)
        queries = query_server(
            config.kafka, AnswerQueries(PostgresReads(pool), clock), producer, clock
        )
        house = KeepHouse(ledger, PostgresUpkeep(pool), clock, observer)
        await house.open_months()
        heartbeats = SendHeartbeats(
            ledger,
            KafkaHeartbeats(producer, clock, instance=instance, ordinal=ordinal),
            observer,
            lag_seconds=facts.lag_seconds,
            problem=facts.problem,
        )
        for name, check in (
            ("facts", facts.problem),
            ("commands", commands.problem),
            ("queries", queries.problem),
            ("heartbeats", heartbeats.silence),
        ):
            readiness.register(name, check)
        async with serve(
            health_app(readiness, metrics),
            config.process.health_host,
            config.process.health_port,
            shutdown_seconds=_HEALTH_SHUTDOWN_SECONDS,
        ):
            yield Billing(
                ledger=ledger,
                facts=facts,
                commands=commands,
                queries=queries,
                house=house,
                heartbeats=heartbeats,
                publications=publications,
                relay=relay,
            )


@asynccontextmanager
async def open_ledger(
    config: BillingConfig, *, clock: Clock, new_id: Callable[[], str]
) -> AsyncIterator[PostgresLedger]:
    """The books alone, for tools that only read them: nothing is migrated or published."""
    async with open_pool(config.postgres, application_name="billing-tool") as pool:
        instance = new_instance_id(_SERVICE, config.process.instance_ordinal)
        producer = EventProducer(config.kafka, source=instance, clock=clock, new_id=new_id)
        yield _open_ledger(config, pool, producer, clock)[0]


def _open_ledger(
    config: BillingConfig, pool: Pool, producer: EventProducer, clock: Clock
) -> tuple[PostgresLedger, Publications, OutboxRelay]:
    relay = OutboxRelay(pool, producer, AccountStates(producer, clock, config.installation))
    publications = Publications(relay, gather_seconds=_GATHER_SECONDS)
    return PostgresLedger(pool, producer, publications, clock), publications, relay


async def _first_of(*events: asyncio.Event) -> None:
    async with TaskScope() as scope:
        waiting = [scope.start(event.wait(), name="waiting") for event in events]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
