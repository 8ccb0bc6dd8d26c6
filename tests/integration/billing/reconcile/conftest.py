"""Servers of their own: what other tests leave in books and topics would not reconcile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
import pytest

from deploy.local.options import Options
from deploy.local.stack import Stack, Stage
from services.billing.config import BillingConfig
from services.billing.domain.period import Period
from services.billing.operations.connections import open_acknowledging, open_reconciling
from services.billing.use_cases.reconcile import Report
from services.billing.wiring import open_billing
from shared.clock import SystemClock
from shared.events.billing import AddCredits, ReleaseHolds, SpendAuthorized
from shared.events.envelope import Event
from shared.events.generations import GenerationAbandoned, GenerationFinished, Spend
from shared.events.topics import INFERENCE_GENERATIONS
from shared.ids import AccountId, EventId, GenerationId, HoldId, new_generation_id, new_id
from shared.tasks import TaskScope
from tests.conftest import Infrastructure
from tests.integration.billing.conftest import World
from tests.support.wait_until import wait_until
from tests.unit.billing.made import USD, authorize, finished


@pytest.fixture(scope="module")
def infrastructure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infrastructure]:
    """Kafka and PostgreSQL for one file of this folder alone."""
    stack = Stack(Options(root=tmp_path_factory.mktemp("reconcile")))
    stack.up(until=Stage.TOPICS)
    try:
        yield Infrastructure(stack)
    finally:
        stack.clean()


@pytest.fixture
async def database(config: BillingConfig) -> AsyncIterator[asyncpg.Connection]:
    """A connection as billing's own user, who owns the tables."""
    connection = await asyncpg.connect(config.postgres.url.reveal())
    yield connection
    await connection.close()


@dataclass(slots=True)
class Compared:
    """A report with what was said of it."""

    report: Report
    lines: list[str] = field(default_factory=list)


async def compare(config: BillingConfig, period: Period | None = None) -> Compared:
    """Reconcile: a period, or as the operators' command does without one."""
    lines: list[str] = []
    clock = SystemClock()
    async with open_reconciling(
        config, clock=clock, tell=lines.append, progress=lines.append
    ) as reconciling:
        if period is None:
            period = await reconciling.period(None, clock.now() + timedelta(minutes=1))
        return Compared(await reconciling.reconcile(period), lines)


async def acknowledge_all(config: BillingConfig) -> None:
    """Say of each dead letter that it was looked at: what else differs is of interest."""
    async with (
        open_acknowledging(config) as acknowledge,
        open_reconciling(config, clock=SystemClock(), tell=print, progress=print) as reconciling,
    ):
        history = reconciling.places.history
        for letter in await history.dead_letters(await history.ends()):
            await acknowledge(letter.position, reason="of the test itself", by="test")


@asynccontextmanager
async def billing_at_work(config: BillingConfig) -> AsyncIterator[None]:
    """A billing process at work; at the end everything it was told is booked and published."""
    stop = asyncio.Event()
    async with (
        open_billing(config, clock=SystemClock(), new_id=new_id) as billing,
        TaskScope() as scope,
    ):
        work = scope.start(billing.run(stop), name="billing")
        await wait_until(
            lambda: work.done() or billing.heartbeats.silence() is None, deadline_seconds=30
        )
        yield
        await until_quiet(config)
        stop.set()
        await work


async def until_quiet(config: BillingConfig) -> None:
    """Wait until nothing is in flight any more."""

    async def is_quiet() -> bool:
        return not (await compare(config)).report.in_flight.total()

    await wait_until(is_quiet, deadline_seconds=30, otherwise="something stays in flight")


@dataclass(slots=True, kw_only=True)
class Story:
    """One generation of each way to end, all of one account."""

    account: AccountId
    waived: GenerationId
    fee: GenerationId
    charged: GenerationId
    reversed: GenerationId
    released: GenerationId
    unpaid: GenerationId
    hold: HoldId
    at: datetime


async def tell(world: World, *events: Event, event_id: str | None = None) -> None:
    """Facts, as dispatcher and ingress tell them."""
    for event in events:
        assert isinstance(event, GenerationFinished | GenerationAbandoned)
        record = world.producer.record(
            INFERENCE_GENERATIONS, event, key=event.account_id, event_id=event_id
        )
        await world.producer.send(record)


async def live(world: World, database: asyncpg.Connection) -> Story:
    """Let everything happen that can: the story, with repetitions, contradictions and poison."""
    account, poor = AccountId(new_id()), AccountId(new_id())
    story = Story(
        account=account,
        waived=new_generation_id(),
        fee=new_generation_id(),
        charged=new_generation_id(),
        reversed=new_generation_id(),
        released=new_generation_id(),
        unpaid=new_generation_id(),
        hold=HoldId(new_id()),
        at=SystemClock().now(),
    )
    for owner, amount in ((account, USD), (poor, 1)):
        await world.call(AddCredits(account_id=owner, amount_nano_usd=amount, key="k"), owner)
    for generation_id, hold, is_byok in (
        (story.charged, story.hold, False),
        (story.reversed, new_id(), False),
        (story.released, new_id(), True),
        (new_generation_id(), new_id(), True),
    ):
        command = authorize(
            hold=hold,
            account=account,
            generation_id=generation_id,
            is_byok=is_byok,
            hold_until=SystemClock().now() + timedelta(seconds=1),
        )
        assert isinstance(await world.call(command, account), SpendAuthorized)
    for generation_id, spend, is_byok in (
        (story.charged, Spend(hold_id=story.hold), False),
        (story.waived, Spend(waived=True), True),
        (story.fee, None, True),
        (story.reversed, None, False),
    ):
        fact = finished(account=account, generation_id=generation_id, is_byok=is_byok, spend=spend)
        await tell(world, fact, fact)
        again = EventId(new_id())
        await tell(world, fact, fact, event_id=again)
    booked = "select count(*) from generations where account_id = $1"

    async def all_are_booked() -> bool:
        return bool(await database.fetchval(booked, account) == 4)

    # Another account's facts stand in another partition: only now can it not be the first.
    await wait_until(all_are_booked, deadline_seconds=20)
    await tell(
        world,
        finished(account=poor, generation_id=story.unpaid, is_byok=False),
        finished(account=account, generation_id=new_generation_id(), usage=None),
        finished(account=poor, generation_id=story.charged, is_byok=False),
        GenerationAbandoned(generation_id=story.reversed, account_id=account, reason="ours"),
        GenerationAbandoned(generation_id=story.charged, account_id=poor, reason="not theirs"),
        GenerationAbandoned(
            generation_id=GenerationId("nonsense"), account_id=account, reason="poison"
        ),
    )
    early = new_generation_id()
    await tell(
        world,
        GenerationAbandoned(generation_id=early, account_id=account, reason="ours"),
        finished(account=account, generation_id=early, is_byok=False),
    )
    release = ReleaseHolds(generation_id=story.released, account_id=account, reason="gone")
    await world.call(release, account)
    await world.balance(account, held_nano_usd=0)
    return story
