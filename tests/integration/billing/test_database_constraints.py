"""What the database itself refuses, tried with all rights that billing has."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.billing.config import BillingConfig
from services.billing.outbound.postgres_upkeep import PostgresUpkeep
from services.billing.outbound.prometheus_observer import PrometheusObserver
from services.billing.use_cases.keep_house import KeepHouse
from shared.events.generations import Spend
from shared.ids import AccountId, GenerationId, HoldId, month_of, new_generation_id, new_id
from shared.telemetry.metrics import Metrics
from tests.integration.billing.conftest import Desk, received
from tests.unit.billing.made import USD, authorize, finished, generation

_APPEND_ONLY = (
    "transfers",
    "generations",
    "abandonments",
    "hold_endings",
    "spend_refusals",
    "credit_movements",
    "acknowledged_dead_letters",
)
_WITHOUT_ACCOUNT = {"hold_endings": "hold_id", "acknowledged_dead_letters": "event_id"}
_COPIED = """
insert into holds select {}, generation_id, run_id, account_id, api_key_hash, is_byok, provider,
    waived, fee_percent, amount_nano_usd, hold_until, true, now(), worst_case_nano_usd, input_hash
from holds where hold_id = $1
"""
_NOT_DELETED = (*_APPEND_ONLY, "accounts", "allotments", "holds")


@pytest.fixture
async def database(config: BillingConfig) -> AsyncIterator[asyncpg.Connection]:
    """A connection as billing's own user."""
    connection = await asyncpg.connect(config.postgres.url.reveal())
    yield connection
    await connection.close()


@dataclass(frozen=True)
class _Hold:
    account: AccountId
    hold_id: HoldId
    generation_id: GenerationId


@pytest.fixture
async def hold(desk: Desk) -> _Hold:
    """An open hold; every kind of row stands beside it."""
    account = await desk.account_with(USD)
    made = _Hold(account, HoldId(new_id()), new_generation_id())
    settled, refused = HoldId(new_id()), new_generation_id()
    other = new_generation_id()
    await desk.answer(
        authorize(hold=made.hold_id, account=account, generation_id=made.generation_id),
        authorize(hold=settled, account=account, generation_id=other, is_byok=False),
        authorize(
            hold=new_id(),
            account=account,
            generation_id=refused,
            is_byok=False,
            worst_case_nano_usd=2 * USD,
        ),
    )
    fact = finished(
        account=account, generation_id=other, is_byok=False, spend=Spend(hold_id=settled)
    )
    await desk.post([received(fact)])
    return made


async def _grant_all(database: asyncpg.Connection, tables: tuple[str, ...]) -> list[str]:
    """Give the rights back that the migrations took, on each month's own tables too."""
    rows = await database.fetch(
        "select inhrelid::regclass::text as name from pg_inherits"
        " where inhparent in ('transfers'::regclass, 'generations'::regclass)"
    )
    names = [*tables, *(row["name"] for row in rows)]
    for name in names:
        await database.execute(f"grant update, delete, truncate on {name} to current_user")
    return names


@pytest.mark.usefixtures("hold")
async def test_no_right_lets_the_service_change_or_delete_what_was_written(
    database: asyncpg.Connection,
) -> None:
    refused: list[str] = []
    async with _undone(database):
        await database.execute(
            "insert into acknowledged_dead_letters values ('t', 0, 0, 'e', 'why', 'decided', 'ada')"
        )
        names = await _grant_all(database, _NOT_DELETED)
        parts = [name for name in names if name.startswith(("transfers_", "generations_"))]
        assert {"transfers_default", "generations_default"} < set(parts)
        for name in names:
            statements = [f"truncate {name} cascade"]
            if await database.fetchval(f"select exists (select from {name})"):  # noqa: S608 - a constant
                statements.append(f"delete from {name}")  # noqa: S608 - a constant
                if name in _APPEND_ONLY or name in parts:
                    statements.append(f"update {name} set account_id = account_id")  # noqa: S608 - a constant
            for statement in statements:
                for table, column in _WITHOUT_ACCOUNT.items():
                    if table in statement:
                        statement = statement.replace("account_id", column)  # noqa: PLW2901 - it has no account
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append only"):
                    async with database.transaction():
                        await database.execute(statement)
                refused.append(statement)
    # of every kind of row there was one, so that the row triggers were asked too
    tables = {each.split()[-1] for each in refused if each.startswith("delete")}
    assert {*_NOT_DELETED} - {"abandonments"} <= tables


async def test_triggers_cannot_be_passed_by_in_a_session_of_the_service(
    database: asyncpg.Connection,
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute("set session_replication_role = replica")
    assert not await database.fetchval(
        "select rolsuper or rolreplication or rolbypassrls from pg_roles where rolname = current_user"
    )


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("update holds set is_open = false where hold_id = $1", asyncpg.CheckViolationError),
        (
            "insert into hold_endings (hold_id, ending) values ($1, 'posted')",
            asyncpg.CheckViolationError,
        ),
        (
            "update holds set amount_nano_usd = amount_nano_usd + 1 where hold_id = $1",
            asyncpg.InsufficientPrivilegeError,
        ),
        (
            "update holds set is_open = false, waived = not waived where hold_id = $1",
            asyncpg.InsufficientPrivilegeError,
        ),
        (
            "insert into hold_endings (hold_id, ending) values ('none of ours' || $1, 'posted')",
            asyncpg.ForeignKeyViolationError,
        ),
        (
            "insert into hold_endings (hold_id, ending) values ($1, 'lost')",
            asyncpg.CheckViolationError,
        ),
        (_COPIED.format("'second ' || hold_id, month"), asyncpg.UniqueViolationError),
        (_COPIED.format("hold_id, month"), asyncpg.UniqueViolationError),
        (_COPIED.format("'other month ' || hold_id, '1999-01'"), asyncpg.CheckViolationError),
    ],
    ids=[
        "closed without an ending",
        "ended but open",
        "another amount",
        "closed and changed",
        "an ending of nothing",
        "an ending of no kind",
        "a second open hold",
        "the same hold twice",
        "the same generation in another month",
    ],
)
async def test_a_hold_ends_once_and_is_never_otherwise_changed(
    hold: _Hold, database: asyncpg.Connection, statement: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await database.execute(statement, hold.hold_id)
    row = await database.fetchrow("select * from holds where hold_id = $1", hold.hold_id)
    assert row is not None
    assert row["is_open"]


@pytest.mark.parametrize("ending", ["posted", "released", "expired", "replaced"])
async def test_a_hold_that_has_ended_can_neither_end_again_nor_open(
    hold: _Hold, database: asyncpg.Connection, ending: str
) -> None:
    async with _undone(database):
        await database.execute("update holds set is_open = false where hold_id = $1", hold.hold_id)
        end = "insert into hold_endings (hold_id, ending) values ($1, $2)"
        await database.execute(end, hold.hold_id, ending)
        await database.execute("set constraints all immediate")
        for again in ("posted", "released", "expired", "replaced"):
            with pytest.raises(asyncpg.UniqueViolationError):
                async with database.transaction():
                    await database.execute(end, hold.hold_id, again)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction():
                await database.execute(
                    "update holds set is_open = true where hold_id = $1", hold.hold_id
                )


@pytest.mark.parametrize(
    "change",
    [
        "available_nano_usd = -1",
        "held_nano_usd = -1",
        "available_nano_usd = available_nano_usd - 10000000000",
        "free_list_cost_nano_usd = -1",
        "allotment_rule = 'dollars'",
    ],
)
async def test_no_counter_of_an_account_falls_below_zero(
    hold: _Hold, database: asyncpg.Connection, change: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute(
            f"update accounts set {change} where account_id = $1",  # noqa: S608 - of the table
            hold.account,
        )


@pytest.mark.parametrize(
    "column",
    ["used", "reserved", "list_cost_used_nano_usd", "list_cost_reserved_nano_usd"],
)
async def test_no_counter_of_an_allotment_falls_below_zero(
    hold: _Hold, database: asyncpg.Connection, column: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute(
            f"update allotments set {column} = -1 where account_id = $1",  # noqa: S608 - of the table
            hold.account,
        )


async def test_a_generation_has_one_posting_in_any_month_and_a_transfer_one_row(
    hold: _Hold, database: asyncpg.Connection
) -> None:
    columns = await database.fetchval(
        "select string_agg(column_name, ', ') from information_schema.columns"
        " where table_schema = current_schema() and table_name = 'generations'"
        " and column_name not in ('month', 'posted_at')"
    )
    copy = (
        f"insert into generations (month, {columns}) select {{}}, {columns} from generations"  # noqa: S608 - constants
        " where account_id = $1"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.execute(copy.format("month"), hold.account)
    for month in ("'2031-01'", "'1999-12'", "''"):
        with pytest.raises(asyncpg.CheckViolationError, match="month_of_id"):
            await database.execute(copy.format(month), hold.account)
    copied = (
        "insert into transfers select month, transfer_id, kind, account_id, generation_id, hold_id,"
        " debit, credit, {} from transfers where account_id = $1 limit 1"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.execute(copied.format("amount_nano_usd"), hold.account)
    for amount in ("0", "-amount_nano_usd"):
        with pytest.raises(asyncpg.CheckViolationError):
            await database.execute(copied.format(amount), hold.account)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2033, 1, 31, 23, 59, 59, 999000, tzinfo=UTC),
        datetime(2033, 2, 1, tzinfo=UTC),
        datetime(2032, 2, 29, 12, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
    ],
)
async def test_the_database_reads_the_same_month_from_an_id_as_we_do(
    desk: Desk, database: asyncpg.Connection, moment: datetime
) -> None:
    del desk  # it has brought the schema up to date
    found = await database.fetchval("select month_of_generation($1)", generation(1, moment))
    assert found == month_of(moment)


@dataclass
class _Calendar:
    """A clock that stands where it is put."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0


async def test_a_month_has_its_partitions_before_it_begins(
    desk: Desk, upkeep: PostgresUpkeep, database: asyncpg.Connection
) -> None:
    async def parts() -> set[str]:
        rows = await database.fetch(
            "select inhrelid::regclass::text as name from pg_inherits"
            " where inhparent in ('transfers'::regclass, 'generations'::regclass)"
        )
        return {row["name"].removeprefix("billing.") for row in rows}

    calendar = _Calendar(datetime(2041, 6, 28, 0, tzinfo=UTC) - timedelta(seconds=1))
    house = KeepHouse(desk.billing.ledger, upkeep, calendar, PrometheusObserver(Metrics()))
    await house.open_months()
    june, july = (
        {f"{name}_2041_{month}" for name in ("transfers", "generations")} for month in ("06", "07")
    )
    assert june <= await parts()
    assert not july & await parts()
    calendar.moment += timedelta(seconds=2)
    await house.open_months()
    await house.open_months()
    assert july <= await parts()


async def test_a_generation_of_a_month_without_partitions_is_booked_all_the_same(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    generation_id = generation(1, datetime(2042, 3, 31, 23, 59, 59, tzinfo=UTC))
    generation_id = GenerationId(generation_id[:-12] + new_id()[-12:])
    await desk.post([received(finished(account=account, generation_id=generation_id))])
    await desk.billing.ledger.open_month("2042-03")
    row = await database.fetchrow(
        "select month, tableoid::regclass::text as part from generations where generation_id = $1",
        generation_id,
    )
    assert row is not None
    assert (row["month"], row["part"]) == ("2042-03", "generations_default")
    assert await desk.problems() == []


async def test_what_begins_before_midnight_belongs_to_the_month_that_ends_then(
    desk: Desk, database: asyncpg.Connection
) -> None:
    """Two requests a month are free; the third of May pays, though it ends in June."""
    midnight = datetime(2043, 6, 1, tzinfo=UTC)
    for month in ("2043-05", "2043-06"):
        await desk.billing.ledger.open_month(month)
    account, salt = await desk.account_with(USD), new_id()[-10:]
    before, after = midnight - timedelta(milliseconds=1), midnight

    def begun(number: int, at: datetime) -> GenerationId:
        return GenerationId(f"{generation(1, at)[:-12]}{salt}{number:02x}")

    started = [(begun(number, before), HoldId(new_id())) for number in range(3)]
    started.append((begun(3, after), HoldId(new_id())))
    for generation_id, hold_id in started:
        await desk.answer(authorize(hold=hold_id, account=account, generation_id=generation_id))
    for generation_id, hold_id in reversed(started):
        fact = finished(
            account=account, generation_id=generation_id, spend=Spend(hold_id=hold_id), at=after
        )
        await desk.post([received(fact)])
    rows = await database.fetch(
        "select month, kind, tableoid::regclass::text as part from generations"
        " where account_id = $1 order by generation_id",
        account,
    )
    may, june = ("2043-05", "generations_2043_05"), ("2043-06", "generations_2043_06")
    kinds = ["fee_waived", "fee_waived", "fee_deducted", "fee_waived"]
    assert [(row["month"], row["part"], row["kind"]) for row in rows] == [
        (*month, kind) for month, kind in zip((may, may, may, june), kinds, strict=True)
    ]
    parts = await database.fetch(
        "select distinct tableoid::regclass::text as part from transfers"
        " where account_id = $1 and kind <> 'top_up'",
        account,
    )
    assert [row["part"] for row in parts] == ["transfers_2043_05"]
    allotments = await database.fetch(
        "select month, used, reserved from allotments where account_id = $1 order by month", account
    )
    assert [tuple(row) for row in allotments] == [("2043-05", 3, 0), ("2043-06", 1, 0)]
    assert await desk.problems() == []


class _undone:  # noqa: N801 - reads as what it does
    """A transaction that is rolled back at its end."""

    def __init__(self, database: asyncpg.Connection) -> None:
        self._transaction = database.transaction()

    async def __aenter__(self) -> None:
        await self._transaction.start()

    async def __aexit__(self, *_: object) -> None:
        await self._transaction.rollback()
