"""Months that are over: sealed once they reconcile, then closed for good, corrected in the next."""

import json
from asyncio import TaskGroup
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.billing.config import BillingConfig
from services.billing.domain.period import Period
from services.billing.operations.connections import open_reconciling, open_replay
from services.billing.outbound.postgres_reads import PostgresReads
from services.billing.outbound.postgres_upkeep import PostgresUpkeep
from services.billing.use_cases.keep_house import HOLDS_KEPT, ROWS_MAX
from services.billing.use_cases.replay_receipts import replay_receipts
from services.billing.use_cases.seal_month import NotSealed, Sealed
from shared.clock import SystemClock
from shared.events.billing import AddCredits, SpendAuthorized
from shared.events.generations import GenerationAbandoned, Spend
from shared.ids import AccountId, GenerationId, HoldId, month_of, new_id
from shared.postgres.pool import open_pool
from tests.conftest import Infrastructure
from tests.integration.billing.conftest import Desk, World, received
from tests.integration.billing.reconcile.conftest import billing_at_work, compare, tell
from tests.integration.billing.reconcile.damages import without_triggers
from tests.integration.billing.reconcile.running import run_operation
from tests.support.wait_until import wait_until
from tests.unit.billing.made import LIST_COST, USD, authorize, finished, generation

FIRST = "2026-01"
SECOND = "2026-02"
IN_FIRST = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
IN_SECOND = datetime(2026, 2, 1, tzinfo=UTC)


class Calendar:
    """What was posted in January before it was sealed."""

    def __init__(self) -> None:
        self.account = AccountId(new_id())
        self.posted = generation(1, IN_FIRST)
        self.hold = HoldId(f"{self.posted}/run/0")
        self.next = generation(2, IN_SECOND)
        self.late = generation(3, IN_FIRST)


_calendars: list[Calendar] = []


@pytest.fixture
async def calendar(config: BillingConfig, world: World) -> Calendar:
    """January and February have postings; January is sealed."""
    if not _calendars:
        made = Calendar()
        async with billing_at_work(config):
            await world.call(
                AddCredits(account_id=made.account, amount_nano_usd=USD, key="k"), made.account
            )
            command = authorize(
                hold=made.hold,
                account=made.account,
                generation_id=made.posted,
                is_byok=False,
                hold_until=SystemClock().now() + timedelta(hours=1),
            )
            assert isinstance(await world.call(command, made.account), SpendAuthorized)
            await _told(world, made, made.posted, made.next, spend=Spend(hold_id=made.hold))
        refused = await _seal(config, SECOND)
        assert isinstance(refused, NotSealed)
        assert refused.reason == f"{FIRST} comes first: it has postings and no seal"
        sealed = await _seal(config, FIRST)
        assert isinstance(sealed, Sealed), sealed
        # held at four times of what it came to, the rest returned
        assert (sealed.seal.generations, sealed.seal.transfers) == (1, 4)
        assert sealed.seal.amount_nano_usd == (4 + 3 + 1 + 1) * LIST_COST
        _calendars.append(made)
    return _calendars[0]


async def _told(
    world: World, calendar: Calendar, *generations: GenerationId, spend: Spend | None = None
) -> None:
    await tell(
        world,
        *(
            finished(
                account=calendar.account,
                generation_id=each,
                is_byok=False,
                spend=spend if each == calendar.posted else None,
            )
            for each in generations
        ),
    )


async def _seal(config: BillingConfig, month: str) -> Sealed | NotSealed:
    lines: list[str] = []
    async with open_reconciling(
        config, clock=SystemClock(), tell=lines.append, progress=lines.append
    ) as reconciling:
        return await reconciling.seal_month(month)


async def _rows(
    database: asyncpg.Connection, generation_id: GenerationId
) -> list[tuple[str, str | None]]:
    rows = await database.fetch(
        "select month, corrects_month from generations where generation_id = $1", generation_id
    )
    return [(row["month"], row["corrects_month"]) for row in rows]


async def _available(database: asyncpg.Connection, account: AccountId) -> int:
    return int(
        await database.fetchval(
            "select available_nano_usd from accounts where account_id = $1", account
        )
    )


@pytest.mark.usefixtures("desk")
async def test_a_month_is_not_sealed_before_it_is_over(config: BillingConfig) -> None:
    refused = await _seal(config, month_of(SystemClock().now()))
    assert isinstance(refused, NotSealed)
    assert "is not over" in refused.reason


async def test_a_sealed_month_is_not_sealed_again(
    config: BillingConfig, calendar: Calendar
) -> None:
    refused = await _seal(config, FIRST)
    assert isinstance(refused, NotSealed)
    assert refused.reason == f"{FIRST} is sealed"
    assert calendar.account


@pytest.mark.parametrize("table", ["transfers", "generations"])
async def test_the_database_itself_refuses_to_write_into_a_sealed_month(
    calendar: Calendar, database: asyncpg.Connection, table: str
) -> None:
    column = "transfer_id" if table == "transfers" else "generation_id"
    names = [
        row["attname"]
        for row in await database.fetch(
            "select attname from pg_attribute "
            "where attrelid = $1::text::regclass and attnum > 0 and not attisdropped",
            table,
        )
    ]
    values = ", ".join("'made-up'" if name == column else name for name in names)
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="2026-01 is closed"):
        await database.execute(
            f"insert into {table} ({', '.join(names)}) select {values} from {table} "  # noqa: S608
            "where generation_id = $1",
            calendar.posted,
        )
    for statement in ("update month_seals set sha256 = ''", "delete from month_seals"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute(statement)


async def test_facts_of_sealed_generations_that_come_again_change_nothing(
    config: BillingConfig, world: World, calendar: Calendar, database: asyncpg.Connection
) -> None:
    before = await _available(database, calendar.account)
    async with billing_at_work(config):
        await _told(world, calendar, calendar.posted, calendar.posted)
    assert await _rows(database, calendar.posted) == [(FIRST, None)]
    assert await _available(database, calendar.account) == before


async def test_a_late_fact_is_booked_once_in_the_open_month_and_names_its_own(
    config: BillingConfig, world: World, calendar: Calendar, database: asyncpg.Connection
) -> None:
    before = await _available(database, calendar.account)
    async with billing_at_work(config):
        await _told(world, calendar, calendar.late, calendar.late)
    async with billing_at_work(config):
        await _told(world, calendar, calendar.late)
    now = month_of(SystemClock().now())
    assert await _rows(database, calendar.late) == [(now, FIRST)]
    transfers = await database.fetch(
        "select month, corrects_month from transfers where generation_id = $1", calendar.late
    )
    assert {tuple(row) for row in transfers} == {(now, FIRST)}
    assert await _available(database, calendar.account) == before - LIST_COST
    compared = await compare(config)
    assert compared.report.clean, compared.lines


async def test_a_late_generation_has_its_receipt_and_keeps_it_through_a_replay(
    config: BillingConfig, world: World, calendar: Calendar, database: asyncpg.Connection
) -> None:
    late = generation(4, IN_FIRST)
    async with billing_at_work(config):
        await _told(world, calendar, late)
    async with open_pool(config.postgres, application_name="test") as pool:
        reads = PostgresReads(pool)
        told = await reads.receipt(calendar.account, late)
        rows = await database.fetch("select * from receipts order by 1, 2")
        async with open_replay(config) as (history, rebuild):
            await replay_receipts(history, rebuild, None)
        assert await reads.receipt(calendar.account, late) == told
    assert told is not None
    assert told.charge.collected_nano_usd == LIST_COST
    assert await database.fetch("select * from receipts order by 1, 2") == rows


@pytest.mark.parametrize("name", ["posted", "late"])
async def test_a_late_abandonment_reverses_what_was_posted_in_the_open_month(
    config: BillingConfig,
    world: World,
    calendar: Calendar,
    database: asyncpg.Connection,
    name: str,
) -> None:
    generation_id = getattr(calendar, name)
    before = await _available(database, calendar.account)
    fact = GenerationAbandoned(
        generation_id=generation_id, account_id=calendar.account, reason="ours"
    )
    async with billing_at_work(config):
        await tell(world, fact, fact)
    assert await _available(database, calendar.account) == before + LIST_COST
    rows = await database.fetch(
        "select month, corrects_month from transfers "
        "where generation_id = $1 and kind like '%reversed' or kind = 'credits_given_back'",
        generation_id,
    )
    now = month_of(SystemClock().now())
    assert {tuple(row) for row in rows} == {(now, FIRST)}
    compared = await compare(config)
    assert compared.report.clean, compared.lines
    assert compared.report.sealed_months >= 1


async def test_books_whose_sealed_holds_are_forgotten_reconcile(
    config: BillingConfig,
    calendar: Calendar,
    upkeep: PostgresUpkeep,
    database: asyncpg.Connection,
) -> None:
    hold = "select ending from holds join hold_endings using (hold_id) where hold_id = $1"
    assert await upkeep.forget_holds(HOLDS_KEPT, rows_max=ROWS_MAX) == 0
    assert await database.fetchval(hold, calendar.hold) == "posted"
    await without_triggers(
        database,
        "update holds set hold_until = hold_until - interval '43 days'",
        "update hold_endings set ended_at = ended_at - interval '43 days'",
    )
    assert await upkeep.forget_holds(HOLDS_KEPT, rows_max=ROWS_MAX) == 1
    assert await database.fetchval(hold, calendar.hold) is None
    everything = Period(begin=datetime(2025, 12, 1, tzinfo=UTC), end=SystemClock().now())
    for period in (None, everything):
        compared = await compare(config, period)
        assert compared.report.clean, compared.lines


async def test_a_month_that_is_closed_while_a_page_is_written_takes_nothing_more(
    desk: Desk, database: asyncpg.Connection, calendar: Calendar
) -> None:
    """The page was read before the closing; the database refuses it, and it is read again."""
    refused = generation(9, datetime(2026, 3, 1, tzinfo=UTC))
    closing = database.transaction()
    await closing.start()
    await database.execute("select close_month('2026-03')")
    async with TaskGroup() as tasks:
        fact = finished(account=calendar.account, generation_id=refused, is_byok=False)
        posting = tasks.create_task(desk.post([received(fact)]))
        waiting = "select count(*) from pg_locks where not granted"

        async def is_waiting() -> bool:
            return bool(await database.fetchval(waiting))

        await wait_until(is_waiting, deadline_seconds=10)
        await closing.commit()
        await posting
    now = month_of(SystemClock().now())
    assert await _rows(database, refused) == [(now, "2026-03")]
    assert await database.fetchval("select month from closed_months where month = '2026-03'")


async def test_the_next_seal_chains_and_a_change_behind_the_seal_is_found(
    infrastructure: Infrastructure,
    config: BillingConfig,
    calendar: Calendar,
    database: asyncpg.Connection,
) -> None:
    part = await database.fetchval(
        "select tableoid::regclass::text from transfers where transfer_id = $1",
        f"{calendar.posted}/revenue",
    )
    change = (
        f"update {part} set created_at = created_at + interval '1 hour' "  # noqa: S608 - its name
        f"where transfer_id = '{calendar.posted}/revenue'"
    )
    await database.execute(
        f"grant update on {part} to current_user; alter table {part} disable trigger user"
    )
    await database.execute(change)
    try:
        lines = (await compare(config)).lines
        assert any(line.startswith(f"broken-seal: month {FIRST}: hash: is ") for line in lines)
    finally:
        await database.execute(change.replace("+ interval", "- interval"))
        await database.execute(f"alter table {part} enable trigger user")
    code, output, errors = await run_operation(
        infrastructure.environment("billing"), "seal-month", "--month", FIRST
    )
    told = json.loads(output.splitlines()[-1])
    assert (code, told["sealed"], told["reason"]) == (1, False, f"{FIRST} is sealed")
    assert errors
