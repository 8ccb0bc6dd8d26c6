"""Billing on the session's real servers, wired as in production."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from services.billing.config import BillingConfig
from services.billing.outbound.postgres_upkeep import PostgresUpkeep
from services.billing.outbound.prometheus_observer import PrometheusObserver
from services.billing.use_cases.check_books import check_books
from services.billing.use_cases.post_facts import PostFacts
from services.billing.use_cases.serve_commands import ServeCommands
from services.billing.wiring import Billing, open_billing
from shared.clock import SystemClock
from shared.config.process import ProcessConfig
from shared.events.billing import AddCredits
from shared.events.codec import Received
from shared.events.envelope import CallReply, Envelope, Event, StateEvent
from shared.events.topic import Topic
from shared.events.topics import (
    BILLING_ACCOUNTS,
    BILLING_COMMANDS,
    DISPATCHER_REPLIES,
    INFERENCE_GENERATIONS,
    OPERATIONS_REPLIES,
)
from shared.ids import AccountId, EventId, InstanceId, new_id
from shared.kafka.calls import Calls, ReceivedCall
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import EventProducer, open_producer
from shared.kafka.readers import PartitionReader
from shared.kafka.view import View
from shared.postgres.config import PostgresConfig
from shared.postgres.pool import open_pool
from shared.secret import Secret
from shared.tasks import TaskScope
from shared.telemetry.metrics import Metrics
from tests.conftest import Infrastructure
from tests.support.wait_until import wait_until

CALL_SECONDS = 20.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need the real servers."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.connected)


@pytest.fixture
def config(infrastructure: Infrastructure) -> BillingConfig:
    """Two free requests a month, so that an allotment ends soon; five percent after that."""
    return BillingConfig(
        process=ProcessConfig(health_port=0),
        kafka=KafkaConfig(bootstrap_servers=infrastructure.kafka),
        postgres=PostgresConfig(url=Secret(infrastructure.postgres_url("billing"))),
        fee_percent=Decimal(5),
        free_requests=2,
    )


def received(event: Event, *, event_id: str | None = None) -> Received:
    """A fact as it comes out of Kafka."""
    return Received(
        envelope=Envelope(
            id=EventId(event_id or new_id()),
            source="test",
            type="",
            time=SystemClock().now(),
        ),
        event=event,
        key=None,
        headers={},
        content=None,
        topic=INFERENCE_GENERATIONS.name,
        partition=0,
        offset=0,
    )


@dataclass(frozen=True, slots=True)
class Desk:
    """Billing's use cases on PostgreSQL, without the consumers that would call them."""

    billing: Billing
    post: PostFacts
    serve: ServeCommands

    async def answer(self, *commands: Event) -> list[CallReply]:
        """Serve commands as one batch."""
        calls = [
            ReceivedCall(
                command=command,
                call_id=new_id(),
                source="test",
                expires_at=SystemClock().now(),
                reply_topic=DISPATCHER_REPLIES,
                reply_partition=0,
            )
            for command in commands
        ]
        return list(await self.serve(calls))

    async def account_with(self, nano_usd: int) -> AccountId:
        """A new account with credits."""
        account = AccountId(new_id())
        if nano_usd:
            await self.answer(AddCredits(account_id=account, amount_nano_usd=nano_usd, key="k"))
        return account

    async def problems(self) -> list[str]:
        """What is wrong with the books."""
        found: list[str] = (await check_books(self.billing.ledger))["problems"]
        return found


@pytest.fixture
async def desk(config: BillingConfig) -> AsyncIterator[Desk]:
    """The use cases; nothing runs beside them."""
    clock = SystemClock()
    async with open_billing(config, clock=clock, new_id=new_id) as billing:
        observer = PrometheusObserver(Metrics())
        yield Desk(
            billing,
            PostFacts(billing.ledger, config.installation, clock, observer),
            ServeCommands(
                billing.ledger,
                config.installation,
                clock,
                observer,
                shared_limits=config.shared_limits,
            ),
        )


@pytest.fixture
async def upkeep(config: BillingConfig) -> AsyncIterator[PostgresUpkeep]:
    """What forgets, over connections of its own."""
    async with open_pool(config.postgres, application_name="test") as pool:
        yield PostgresUpkeep(pool)


@dataclass(slots=True)
class World:
    """What surrounds billing: somebody who calls it, and readers of what it tells."""

    producer: EventProducer
    balances: View
    _calls: dict[str, Calls] = field(default_factory=dict)

    async def call(self, command: Event, account: AccountId) -> CallReply:
        """Ask billing; top-ups as operations do, the rest as a dispatcher does."""
        topic = OPERATIONS_REPLIES if isinstance(command, AddCredits) else DISPATCHER_REPLIES
        return await self._calls[topic.name].call(
            BILLING_COMMANDS,
            command,
            key=account,
            callee="billing",
            deadline_seconds=CALL_SECONDS,
        )

    async def balance(self, account: AccountId, **expected: object) -> StateEvent:
        """The account's published state, once it says what is expected."""

        def is_so() -> bool:
            state = self.balances.get(account)
            return state is not None and all(
                getattr(state, name) == value for name, value in expected.items()
            )

        await wait_until(
            is_so,
            deadline_seconds=CALL_SECONDS,
            otherwise=lambda: f"{self.balances.get(account)} is not {expected}",
        )
        state = self.balances.get(account)
        assert state is not None
        return state


@pytest.fixture
async def running(config: BillingConfig) -> AsyncIterator[Billing]:
    """A billing process at work."""
    stop = asyncio.Event()
    async with (
        open_billing(config, clock=SystemClock(), new_id=new_id) as billing,
        TaskScope() as scope,
    ):
        work = scope.start(billing.run(stop), name="billing")
        await wait_until(
            lambda: work.done() or billing.heartbeats.silence() is None, deadline_seconds=30
        )
        assert not work.done(), work.exception()
        yield billing
        stop.set()
        await work


@pytest.fixture
async def world(config: BillingConfig) -> AsyncIterator[World]:
    """The rest of the world, listening."""
    clock = SystemClock()
    stop = asyncio.Event()
    async with AsyncExitStack() as opened:
        producer = await opened.enter_async_context(
            open_producer(config.kafka, source=InstanceId("test-0"), clock=clock, new_id=new_id)
        )
        scope = await opened.enter_async_context(TaskScope())
        dead_letters = DeadLetters(producer, consumer="test", clock=clock)
        balances = View(config.kafka, BILLING_ACCOUNTS, clock=clock, dead_letters=dead_letters)
        scope.start(balances.run(stop), name="balances")
        world = World(producer, balances)
        ready = [balances.ready]
        for topic in (DISPATCHER_REPLIES, OPERATIONS_REPLIES):
            calls = Calls(
                producer, reply_topic=topic, reply_partition=0, clock=clock, new_id=new_id
            )
            world._calls[topic.name] = calls  # noqa: SLF001 - built here
            reader = _reader(config, topic, calls, dead_letters)
            scope.start(reader.run(stop), name=topic.name)
            ready.append(reader.ready)
        for each in ready:
            async with asyncio.timeout(CALL_SECONDS):
                await each.wait()
        yield world
        stop.set()
        await scope.drain(CALL_SECONDS)


def _reader(
    config: BillingConfig, topic: Topic, calls: Calls, dead_letters: DeadLetters
) -> PartitionReader:
    return PartitionReader(
        config.kafka,
        topic=topic,
        partition=0,
        start="end",
        on_record=calls.on_record,
        dead_letters=dead_letters,
        clock=SystemClock(),
    )
