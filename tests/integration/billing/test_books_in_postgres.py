"""The books in PostgreSQL: what the database itself must make impossible or keep."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from services.billing.config import BillingConfig
from shared.clock import SystemClock
from shared.errors import PoisonRecord
from shared.events.accounts import AccountChanged
from shared.events.billing import (
    AddCredits,
    HoldsReleased,
    QuerySpending,
    QuerySpendingByKey,
    ReleaseHolds,
    SpendAuthorized,
    Spending,
    SpendingByKey,
    SpendingPeriod,
    SpendRefused,
)
from shared.events.envelope import Event, Refused
from shared.events.generations import GenerationAbandoned, Spend
from shared.ids import (
    AccountId,
    ApiKeyHash,
    GenerationId,
    HoldId,
    new_generation_id,
    new_id,
    started_at,
)
from tests.integration.billing.conftest import Desk, received
from tests.unit.billing.made import API_KEY, FEE, LIST_COST, USD, authorize, finished


@pytest.fixture
async def database(config: BillingConfig) -> AsyncIterator[asyncpg.Connection]:
    """A connection with all rights that billing itself has."""
    connection = await asyncpg.connect(config.postgres.url.reveal())
    yield connection
    await connection.close()


async def _available(database: asyncpg.Connection, account: AccountId) -> int:
    return int(
        await database.fetchval(
            "select available_nano_usd from accounts where account_id = $1", account
        )
    )


def _abandoned(generation_id: GenerationId, account: AccountId) -> Event:
    return GenerationAbandoned(generation_id=generation_id, account_id=account, reason="ours")


async def test_facts_delivered_again_and_shuffled_leave_the_same_books(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    facts = [
        received(finished(account=account, generation_id=new_generation_id(), is_byok=False))
        for _ in range(40)
    ]
    again = sorted([*facts, *facts], key=lambda each: each.envelope.id[::-1])
    await desk.post(facts[:25])
    for start in range(0, len(again), 16):
        await desk.post(again[start : start + 16])
    assert await _available(database, account) == USD - 40 * LIST_COST
    assert await desk.problems() == []


async def test_a_generation_told_of_by_two_events_is_booked_once(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    fact = finished(account=account, generation_id=new_generation_id(), is_byok=False)
    await desk.post([received(fact), received(fact)])
    await desk.post([received(fact)])
    assert await _available(database, account) == USD - LIST_COST


@pytest.mark.parametrize("abandoned_first", [True, False])
@pytest.mark.parametrize("together", [True, False])
async def test_abandoned_beats_finished_in_both_orders(
    desk: Desk,
    database: asyncpg.Connection,
    abandoned_first: bool,  # noqa: FBT001 - of the table
    together: bool,  # noqa: FBT001 - of the table
) -> None:
    account, generation_id = await desk.account_with(USD), new_generation_id()
    hold = new_id()
    command = authorize(hold=hold, account=account, generation_id=generation_id, is_byok=False)
    await desk.answer(command)
    spend = Spend(hold_id=HoldId(hold))
    facts = [
        received(
            finished(account=account, generation_id=generation_id, is_byok=False, spend=spend)
        ),
        received(_abandoned(generation_id, account)),
    ]
    if abandoned_first:
        facts.reverse()
    for batch in [facts] if together else [[fact] for fact in facts]:
        await desk.post(batch)
    assert await _available(database, account) == USD
    late = authorize(hold=new_id(), account=account, generation_id=generation_id)
    (answer,) = await desk.answer(late)
    assert isinstance(answer, SpendRefused)
    assert answer.code == "already_ended"
    assert await desk.problems() == []


async def test_two_hundred_requests_at_once_on_credits_for_twenty(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(20 * LIST_COST)
    commands = [
        authorize(
            hold=new_id(),
            account=account,
            generation_id=new_generation_id(),
            is_byok=False,
            worst_case_nano_usd=LIST_COST,
        )
        for _ in range(200)
    ]
    batches = [desk.answer(*commands[start : start + 10]) for start in range(0, 200, 10)]
    answers = [answer for batch in await asyncio.gather(*batches) for answer in batch]
    assert sum(isinstance(answer, SpendAuthorized) for answer in answers) == 20
    assert sum(isinstance(answer, SpendRefused) for answer in answers) == 180
    assert await _available(database, account) == 0
    assert await desk.problems() == []


async def test_waived_slots_do_not_exceed_the_allotment_under_concurrency(desk: Desk) -> None:
    account = await desk.account_with(USD)
    commands = [
        authorize(hold=new_id(), account=account, generation_id=new_generation_id())
        for _ in range(20)
    ]
    answers = await asyncio.gather(*[desk.answer(command) for command in commands])
    waived = [getattr(answer, "waived", None) for (answer,) in answers]
    assert (waived.count(True), waived.count(False)) == (2, 18)


async def test_a_hold_past_its_time_returns_its_money_and_its_generation_still_pays(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account, generation_id, hold = await desk.account_with(USD), new_generation_id(), new_id()
    past = SystemClock().now() - timedelta(seconds=1)
    command = authorize(
        hold=hold, account=account, generation_id=generation_id, is_byok=False, hold_until=past
    )
    await desk.answer(command)
    assert await _available(database, account) == USD - 4 * LIST_COST
    assert await desk.billing.house.expire_holds() >= 1
    assert await _available(database, account) == USD
    fact = finished(
        account=account,
        generation_id=generation_id,
        is_byok=False,
        spend=Spend(hold_id=HoldId(hold)),
    )
    await desk.post([received(fact)])
    assert await _available(database, account) == USD - LIST_COST
    assert await desk.problems() == []


async def test_a_replaced_hold_ends_once_and_the_generation_has_one(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account, generation_id = await desk.account_with(USD), new_generation_id()
    holds = [new_id() for _ in range(3)]
    for hold in holds:
        await desk.answer(
            authorize(hold=hold, account=account, generation_id=generation_id, is_byok=False)
        )
    rows = await database.fetch(
        "select is_open, ending from holds left join hold_endings using (hold_id) "
        "where generation_id = $1 order by created_at, is_open",
        generation_id,
    )
    assert [(row["is_open"], row["ending"]) for row in rows] == [
        (False, "replaced"),
        (False, "replaced"),
        (True, None),
    ]
    assert await _available(database, account) == USD - 4 * LIST_COST


async def test_a_release_that_comes_before_its_authorization_sticks(desk: Desk) -> None:
    account, generation_id = await desk.account_with(USD), new_generation_id()
    release = ReleaseHolds(generation_id=generation_id, account_id=account, reason="gone")
    command = authorize(hold=new_id(), account=account, generation_id=generation_id)
    released, refused = await desk.answer(release, command)
    assert isinstance(released, HoldsReleased)
    assert isinstance(refused, SpendRefused)
    assert refused.code == "already_ended"


async def test_answers_are_the_same_when_commands_come_again(desk: Desk) -> None:
    account, generation_id = await desk.account_with(LIST_COST), new_generation_id()
    commands = [
        authorize(hold=new_id(), account=account, generation_id=generation_id),
        authorize(hold=new_id(), account=account, generation_id=new_generation_id(), is_byok=False),
    ]
    first = await desk.answer(*commands)
    await desk.answer(AddCredits(account_id=account, amount_nano_usd=USD, key="more"))
    assert await desk.answer(*commands) == first
    assert [type(answer) for answer in first] == [SpendAuthorized, SpendRefused]


async def test_postings_can_be_neither_changed_nor_deleted(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    await desk.post([received(finished(account=account, generation_id=new_generation_id()))])
    for table in ("transfers", "generations", "abandonments", "credit_movements"):
        for statement in (
            f"update {table} set account_id = 'x'",  # noqa: S608 - a constant
            f"delete from {table}",  # noqa: S608 - a constant
            f"truncate {table}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await database.execute(statement)
    # Even with the rights given back the rows stay, in the months' own tables too.
    parts = await database.fetch(
        "select inhrelid::regclass::text as name from pg_inherits "
        "where inhparent = 'transfers'::regclass"
    )
    assert len(parts) >= 2
    for (part,) in parts:
        await database.execute(f"grant update, delete, truncate on {part} to current_user")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append only"):
            await database.execute(f"truncate {part}")
        await database.execute(f"revoke update, delete, truncate on {part} from current_user")
    part = await database.fetchval(
        "select tableoid::regclass::text from transfers where account_id = $1", account
    )
    assert part != "transfers_default"
    await database.execute(f"grant update, delete on {part} to current_user")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append only"):
        await database.execute(f"delete from {part} where account_id = '{account}'")  # noqa: S608
    await database.execute(f"revoke update, delete on {part} from current_user")


async def test_an_overdraft_is_impossible_in_the_database_itself(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute(
            "update accounts set available_nano_usd = -1 where account_id = $1", account
        )


async def test_the_check_sees_an_account_that_differs_from_its_transfers(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    change = "update accounts set available_nano_usd = available_nano_usd + $2 where account_id=$1"
    await database.execute(change, account, 1)
    try:
        assert await desk.problems() == [
            f"account {account} differs from its rows: available_nano_usd"
        ]
    finally:
        await database.execute(change, account, -1)


async def test_a_value_that_postgres_cannot_hold_is_poison_and_writes_nothing(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    good = received(finished(account=account, generation_id=new_generation_id(), is_byok=False))
    broken = received(_abandoned(new_generation_id(), AccountId("a\0b")))
    with pytest.raises(PoisonRecord):
        await desk.post([good, broken])
    assert await _available(database, account) == USD
    await desk.post([good])
    assert await _available(database, account) == USD - LIST_COST


@pytest.mark.parametrize("generation_id", ["", "gen-", "gen-nonsense", "chatcmpl-1", "gen-\0"])
async def test_a_fact_without_a_generation_is_poison(desk: Desk, generation_id: str) -> None:
    account = AccountId(new_id())
    fact = _abandoned(GenerationId(generation_id), account)
    with pytest.raises(PoisonRecord):
        await desk.post([received(fact)])


async def test_a_bad_command_is_refused_and_its_neighbours_are_served(desk: Desk) -> None:
    account = await desk.account_with(USD)
    answers = await desk.answer(
        authorize(hold="a\0b", account=account, generation_id=new_generation_id()),
        authorize(hold=new_id(), account=account, generation_id=GenerationId("nonsense")),
        authorize(hold=new_id(), account=account, generation_id=new_generation_id()),
        AddCredits(account_id=account, amount_nano_usd=0, key="k"),
    )
    assert [type(answer) for answer in answers] == [Refused, Refused, SpendAuthorized, Refused]
    assert [getattr(answer, "code", None) for answer in answers].count("invalid") == 3


async def test_one_generation_claimed_by_two_accounts_at_once_is_booked_once(desk: Desk) -> None:
    accounts = [await desk.account_with(USD) for _ in range(2)]
    generation_id = new_generation_id()
    facts = [
        received(finished(account=account, generation_id=generation_id, is_byok=False))
        for account in accounts
    ]
    await asyncio.gather(*[desk.post([fact]) for fact in facts])
    assert await desk.problems() == []


async def test_spending_of_an_api_key_counts_fees_charges_and_byok_list_cost(desk: Desk) -> None:
    account = await desk.account_with(USD)
    spends = [Spend(waived=True), Spend(hold_id=None), None]
    facts = [
        finished(
            account=account,
            generation_id=new_generation_id(),
            is_byok=spend is not None,
            spend=spend,
        )
        for spend in spends
    ]
    await desk.post([received(fact) for fact in facts])
    await desk.post(
        [received(AccountChanged(version=1, account_id=account, name="a", free_requests=0))]
    )
    charged = finished(account=account, generation_id=new_generation_id())
    gone = new_generation_id()
    await desk.post(
        [
            received(charged),
            received(finished(account=account, generation_id=gone)),
            received(_abandoned(gone, account)),
        ]
    )
    (told,) = await desk.answer(QuerySpending(account_id=account, api_key_hash=API_KEY))
    period = SpendingPeriod(credits_nano_usd=LIST_COST + FEE, byok_list_cost_nano_usd=3 * LIST_COST)
    assert told == Spending(total=period, day=period, week=period, month=period)
    (other,) = await desk.answer(
        QuerySpending(account_id=account, api_key_hash=type(API_KEY)(API_KEY[:-1]))
    )
    assert isinstance(other, Spending)
    assert other.total == SpendingPeriod(credits_nano_usd=0, byok_list_cost_nano_usd=0)
    unused = ApiKeyHash("0" * 64)
    (many,) = await desk.answer(
        QuerySpendingByKey(account_id=account, api_key_hashes=(unused, API_KEY))
    )
    assert isinstance(many, SpendingByKey)
    assert [each.api_key_hash for each in many.keys] == [unused, API_KEY]
    assert many.keys[0].last_day is None
    assert many.keys[0].spending == other
    assert many.keys[1].last_day == started_at(charged.generation_id).date()
    assert many.keys[1].spending == told


async def test_a_use_that_was_given_back_is_not_the_last_use_of_a_key(desk: Desk) -> None:
    account = await desk.account_with(USD)
    gone = new_generation_id()
    await desk.post(
        [
            received(finished(account=account, generation_id=gone)),
            received(_abandoned(gone, account)),
        ]
    )
    (told,) = await desk.answer(QuerySpendingByKey(account_id=account, api_key_hashes=(API_KEY,)))
    assert isinstance(told, SpendingByKey)
    assert told.keys[0].last_day is None
