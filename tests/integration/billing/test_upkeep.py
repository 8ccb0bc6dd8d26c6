"""What is past goes, in small pieces; what anything can still need stays."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from services.billing.config import BillingConfig
from services.billing.outbound.postgres_reads import PostgresReads
from services.billing.outbound.postgres_upkeep import PostgresUpkeep
from services.billing.outbound.prometheus_observer import PrometheusObserver
from services.billing.use_cases.keep_house import HOLDS_KEPT, REFUSALS_KEPT, ROWS_MAX, KeepHouse
from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.events.accounts import ApiKeyChanged
from shared.events.billing import QuerySpending, SpendAuthorized, Spending, SpendRefused
from shared.ids import AccountId, ApiKeyHash, GenerationId, HoldId, new_generation_id, new_id
from shared.postgres.pool import open_pool
from shared.telemetry.metrics import Metrics
from tests.integration.billing.bookkeeping import AFTER_COMMIT, Bookkeeping
from tests.integration.billing.conftest import Desk, received
from tests.unit.billing.made import LIST_COST, USD, authorize, finished, generation

SEALED = datetime(1999, 12, 15, tzinfo=UTC)
UNSEALED = datetime(2001, 1, 15, tzinfo=UTC)
MANY = 100_000

_HOLD = """
insert into holds (hold_id, month, generation_id, run_id, account_id, api_key_hash, is_byok, provider,
                   waived, worst_case_nano_usd, amount_nano_usd, hold_until, input_hash, is_open)
values ($1, month_of_generation($2), $2, 'run', $3, 'key', false, 'openai', false, 1, 0,
        now() - $4::interval, '', $5)
"""
_ENDING = """
insert into hold_endings (hold_id, ending, ended_at) values ($1, 'posted', now() - $2::interval)
"""
_REFUSAL = """
insert into spend_refusals (hold_id, account_id, input_hash, code, message, needed_nano_usd,
                            available_nano_usd, created_at)
select $1 || number, $2, '', 'insufficient_credits', '', 1, 0, now() - $3::interval
from generate_series(1, $4::integer) as number
"""


@pytest.fixture
async def database(config: BillingConfig, desk: Desk) -> AsyncIterator[asyncpg.Connection]:
    """A connection as billing's own user, to a schema in which a month of long ago is sealed."""
    del desk  # it has brought the schema up to date
    connection = await asyncpg.connect(config.postgres.url.reveal())
    await connection.execute(
        "insert into month_seals select '1999-12', 0, 0, 0, '{}', '{}', '', '' "
        "where not exists (select from month_seals)"
    )
    yield connection
    await connection.close()


async def _hold(
    database: asyncpg.Connection,
    account: AccountId,
    *,
    at: datetime = SEALED,
    ended: timedelta | None = HOLDS_KEPT + timedelta(minutes=1),
) -> HoldId:
    """A hold of a generation that started at a moment; `ended` is how long ago, None: open."""
    unique = int(new_id().replace("-", "")[-11:], 16)
    generation_id = generation(unique, at)
    hold_id = HoldId(f"{generation_id}/run/0")
    async with database.transaction():
        past = timedelta(days=900) if ended is None else ended
        await database.execute(_HOLD, hold_id, generation_id, account, past, ended is None)
        if ended is not None:
            await database.execute(_ENDING, hold_id, ended)
    return hold_id


async def _kept(database: asyncpg.Connection, *hold_ids: HoldId) -> list[tuple[HoldId, bool]]:
    rows = await database.fetch(
        "select hold_id, hold_endings is null as is_open from holds left join hold_endings"
        " using (hold_id) where hold_id = any($1::text[]) order by hold_id",
        hold_ids,
    )
    return [(HoldId(row["hold_id"]), row["is_open"]) for row in rows]


async def test_holds_of_sealed_months_that_ended_long_ago_go_with_their_endings(
    desk: Desk, upkeep: PostgresUpkeep, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    past = [await _hold(database, account) for _ in range(3)]
    needed = [
        await _hold(database, account, ended=HOLDS_KEPT - timedelta(minutes=1)),
        await _hold(database, account, at=UNSEALED),
        await _hold(database, account, ended=None),
    ]
    assert await upkeep.forget_holds(HOLDS_KEPT, rows_max=MANY) >= len(past)
    assert await _kept(database, *past) == []
    assert await _kept(database, *needed) == sorted(
        (hold_id, hold_id == needed[2]) for hold_id in needed
    )
    assert await database.fetchval(
        "select count(*) from hold_endings where hold_id = any($1::text[])", past
    ) == 0  # fmt: skip
    assert await upkeep.forget_holds(HOLDS_KEPT, rows_max=MANY) == 0
    assert await desk.problems() == []
    await desk.billing.house.expire_holds()


async def test_no_caller_makes_the_database_let_go_what_is_needed(
    desk: Desk, upkeep: PostgresUpkeep, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    young = await _hold(database, account, ended=HOLDS_KEPT - timedelta(minutes=1))
    unsealed, past = await _hold(database, account, at=UNSEALED), await _hold(database, account)
    refused = f"{new_generation_id()}/"
    await database.execute(_REFUSAL, refused, account, timedelta(hours=23), 1)
    for attempt in (
        upkeep.forget_holds(timedelta(0), rows_max=MANY),
        upkeep.forget_refusals(timedelta(0), rows_max=MANY),
        database.execute("delete from holds where hold_id = $1", unsealed),
        database.execute("delete from hold_endings where hold_id = $1", young),
        database.execute("delete from hold_endings where hold_id = $1", past),
        database.execute("delete from spend_refusals where hold_id like $1 || '%'", refused),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append only"):
            await attempt
    everything = sorted((each, False) for each in (young, unsealed, past))
    assert await _kept(database, young, unsealed, past) == everything


@pytest.mark.parametrize("statement", [1, 2, AFTER_COMMIT])
def test_killed_at_any_statement_a_hold_and_its_ending_stay_or_go_together(
    config: BillingConfig, statement: int
) -> None:
    with Bookkeeping(config) as books:
        account = AccountId(new_id())
        database = books.database
        books.run(database.execute("insert into accounts (account_id) values ($1)", account))
        books.run(
            database.execute(
                "insert into month_seals select '1999-12', 0, 0, 0, '{}', '{}', '', '' "
                "where not exists (select from month_seals)"
            )
        )
        past = [books.run(_hold(database, account)) for _ in range(3)]
        books.fuse.arm(statement)
        with pytest.raises(Unavailable):
            books.run(books.upkeep.forget_holds(HOLDS_KEPT, rows_max=MANY))
        left = books.run(_kept(database, *past))
        assert left == (
            [] if statement == AFTER_COMMIT else [(each, False) for each in sorted(past)]
        )
        books.run(books.upkeep.forget_holds(HOLDS_KEPT, rows_max=MANY))
        assert books.run(_kept(database, *past)) == []
        assert books.run(books.problems()) == []


async def test_a_refusal_sticks_for_as_long_as_its_command_can_come_again(
    desk: Desk, upkeep: PostgresUpkeep, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(0)
    command = authorize(
        hold=f"{new_generation_id()}/run/0", account=account, generation_id=new_generation_id(),
        is_byok=False,
    )  # fmt: skip
    (refused,) = await desk.answer(command)
    assert isinstance(refused, SpendRefused)
    old, young = (f"{new_generation_id()}/{name}/" for name in ("old", "young"))
    await database.execute(_REFUSAL, old, account, REFUSALS_KEPT + timedelta(minutes=1), 2)
    await database.execute(_REFUSAL, young, account, REFUSALS_KEPT - timedelta(minutes=1), 2)
    await upkeep.forget_refusals(REFUSALS_KEPT, rows_max=MANY)
    count = "select count(*) from spend_refusals where hold_id like $1 || '%'"
    assert await database.fetchval(count, old) == 0
    assert await database.fetchval(count, young) == 2
    assert await desk.answer(command) == [refused]


async def test_much_that_is_past_goes_in_small_pieces_until_none_is_left(
    desk: Desk, upkeep: PostgresUpkeep, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(0)
    house = KeepHouse(desk.billing.ledger, upkeep, SystemClock(), PrometheusObserver(Metrics()))
    while await house.forget_some():
        pass
    old = f"{new_generation_id()}/"
    await database.execute(_REFUSAL, old, account, 2 * REFUSALS_KEPT, 2 * ROWS_MAX + 1)
    left = "select count(*) from spend_refusals where hold_id like $1 || '%'"
    for more, remaining in ((True, ROWS_MAX + 1), (True, 1), (False, 0)):
        assert await house.forget_some() is more
        assert await database.fetchval(left, old) == remaining


async def test_a_deleted_key_is_forgotten_by_itself_and_its_spending_stays_with_the_account(
    desk: Desk, config: BillingConfig, upkeep: PostgresUpkeep, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    gone, fresh, live = (ApiKeyHash((new_id() + new_id()).replace("-", "")) for _ in range(3))
    await desk.post(
        [
            received(
                finished(
                    account=account,
                    api_key_hash=key,
                    generation_id=_days_ago(days),
                    is_byok=False,
                    spend=None,
                )
            )
            for key in (gone, fresh, live)
            for days in (0, 50)
        ]
    )
    await desk.post(
        [
            received(
                ApiKeyChanged(
                    version=2,
                    api_key_hash=key,
                    account_id=account,
                    disabled=True,
                    deleted=key is not live,
                )
            )
            for key in (gone, fresh, live)
        ]
    )
    await database.execute(
        "update deleted_keys set deleted_at = now() - interval '43 days' where api_key_hash = $1",
        gone,
    )
    async with open_pool(config.postgres, application_name="test") as pool:
        before = await PostgresReads(pool).credits(account)
        assert await upkeep.forget_deleted_keys(HOLDS_KEPT, keys_max=MANY) >= 1
        assert await PostgresReads(pool).credits(account) == before
    for table in ("deleted_keys", "api_key_limits", "spending_days"):
        keys = await database.fetch(
            f"select distinct api_key_hash from {table} where api_key_hash = any($1::text[])",  # noqa: S608 - of the list above
            [gone, fresh, live],
        )
        kept = {fresh} if table == "deleted_keys" else {fresh, live}
        assert {row["api_key_hash"] for row in keys} == kept
    rows = await database.fetch(
        "select day, credits_nano_usd, requests from spending_days"
        " where account_id = $1 and api_key_hash = ''",
        account,
    )
    assert [tuple(row) for row in rows] == [(date(1970, 1, 1), 2 * LIST_COST, 2)]
    for key, spent in ((gone, 0), (fresh, 2 * LIST_COST), (live, 2 * LIST_COST)):
        (told,) = await desk.answer(QuerySpending(account_id=account, api_key_hash=key))
        assert isinstance(told, Spending)
        assert told.total.credits_nano_usd == spent
    # whatever comes later still is the account's
    late = authorize(
        hold=new_id(), account=account, api_key_hash=gone, generation_id=new_generation_id()
    )
    assert isinstance((await desk.answer(late))[0], SpendAuthorized)
    assert await desk.problems() == []


def _days_ago(days: int) -> GenerationId:
    unique = int(new_id().replace("-", "")[-11:], 16)
    return generation(unique, SystemClock().now() - timedelta(days=days))
