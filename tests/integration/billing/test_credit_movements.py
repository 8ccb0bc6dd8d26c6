"""Credits in and out in PostgreSQL: each once, however many ask at once, and all of it accounted."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.billing.config import BillingConfig
from services.billing.domain.movement import MovementKind, input_hash
from services.billing.outbound.postgres_checks import read_books
from services.billing.use_cases.check_books import problems_of
from shared.events.billing import AddCredits, CorrectCredits, CreditsKept, RefundCredits
from shared.events.envelope import CallReply, Event, Refused
from shared.events.payments import PaymentKept, RecordDispute, RecordPayment, RecordRefund
from shared.ids import AccountId, new_generation_id, new_id
from tests.conftest import Infrastructure
from tests.integration.billing.conftest import Desk, received
from tests.integration.billing.migrating import migrated
from tests.unit.billing.made import LIST_COST, USD, finished


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


async def _one(desk: Desk, command: Event) -> CallReply:
    (answer,) = await desk.answer(command)
    return answer


async def _at_once(desk: Desk, *commands: Event) -> list[CallReply]:
    return [
        answer
        for (answer,) in await asyncio.gather(*[desk.answer(command) for command in commands])
    ]


def _refund(account: AccountId, nano_usd: int, key: str) -> RefundCredits:
    return RefundCredits(account_id=account, amount_nano_usd=nano_usd, key=key)


@pytest.mark.parametrize("kind", ["add", "refund", "correct"])
async def test_fifty_at_once_under_one_key_are_one_movement(
    desk: Desk, database: asyncpg.Connection, kind: str
) -> None:
    account = await desk.account_with(USD)
    command: Event
    match kind:
        case "add":
            command, left = AddCredits(account_id=account, amount_nano_usd=5, key="once"), USD + 5
        case "refund":
            command, left = _refund(account, 5, "once"), USD - 5
        case _:
            command, left = (
                CorrectCredits(account_id=account, amount_nano_usd=-5, key="once", reason="x"),
                USD - 5,
            )
    answers = await _at_once(desk, *[command] * 50)
    kept = [answer for answer in answers if isinstance(answer, CreditsKept)]
    assert len(kept) == 50
    assert sum(not answer.repeated for answer in kept) == 1
    assert {answer.credits_nano_usd for answer in kept} == {left}
    assert await _available(database, account) == left
    rows = await database.fetchval("select count(*) from transfers where account_id = $1", account)
    assert rows == 2
    assert await desk.problems() == []


async def test_of_two_inputs_under_one_key_one_is_booked_and_the_other_refused(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    answers = await _at_once(
        desk, *[_refund(account, amount, "once") for amount in (5, 7) for _ in range(10)]
    )
    kept = {each.amount_nano_usd for each in answers if isinstance(each, CreditsKept)}
    assert len(kept) == 1
    assert sum(isinstance(each, Refused) and each.code == "conflict" for each in answers) == 10
    assert await _available(database, account) == USD + kept.pop()


async def test_refunds_at_once_give_back_no_more_than_came_in(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    promotion = AddCredits(account_id=account, amount_nano_usd=USD, key="p", kind="promotion")
    await desk.answer(promotion)
    answers = await _at_once(
        desk, *[_refund(account, USD // 4, f"refund {number}") for number in range(20)]
    )
    assert sum(isinstance(each, CreditsKept) for each in answers) == 4
    assert await _available(database, account) == USD
    assert await desk.problems() == []


async def test_a_batch_sees_what_it_has_booked_itself(desk: Desk) -> None:
    account = AccountId(new_id())
    added, refunded, refused = await desk.answer(
        AddCredits(account_id=account, amount_nano_usd=USD, key="in"),
        _refund(account, USD, "out"),
        _refund(account, 1, "too much"),
    )
    assert isinstance(added, CreditsKept)
    assert isinstance(refunded, CreditsKept)
    assert isinstance(refused, Refused)


async def test_the_answer_is_the_same_after_more_has_happened(desk: Desk) -> None:
    account = await desk.account_with(USD)
    first = await _one(desk, _refund(account, 5, "once"))
    await desk.answer(AddCredits(account_id=account, amount_nano_usd=USD, key="more"))
    again = await _one(desk, _refund(account, 5, "once"))
    assert isinstance(first, CreditsKept)
    assert isinstance(again, CreditsKept)
    assert (again.amount_nano_usd, again.credits_nano_usd) == (-5, USD - 5)
    assert (first.repeated, again.repeated) == (False, True)


async def test_a_refund_after_spending_leaves_what_is_missing_uncollected(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    await desk.post(
        [received(finished(account=account, generation_id=new_generation_id(), is_byok=False))]
    )
    kept = await _one(desk, _refund(account, USD, "all"))
    assert isinstance(kept, CreditsKept)
    assert kept.uncollected_nano_usd == LIST_COST
    assert await _available(database, account) == 0
    assert await desk.problems() == []


async def test_reports_of_a_payment_at_once_and_in_any_order_come_to_the_same(
    desk: Desk, database: asyncpg.Connection
) -> None:
    for _ in range(10):
        account, payment = AccountId(new_id()), f"stripe/{new_id()}"
        reports: list[Event] = [
            RecordRefund(payment_id=payment, refunded_nano_usd=3 * USD),
            RecordPayment(payment_id=payment, account_id=account, amount_nano_usd=10 * USD),
            RecordRefund(payment_id=payment, refunded_nano_usd=2 * USD),
            RecordDispute(
                payment_id=payment, dispute_id="dp", amount_nano_usd=4 * USD, is_reinstated=False
            ),
        ]
        answers = await _at_once(desk, *reports, *reports)
        assert all(isinstance(each, PaymentKept) for each in answers)
        assert await _available(database, account) == 3 * USD
    assert await desk.problems() == []


async def test_a_payment_said_to_be_of_two_accounts_is_credited_to_one(
    desk: Desk, database: asyncpg.Connection
) -> None:
    accounts, payment = [AccountId(new_id()) for _ in range(2)], f"stripe/{new_id()}"
    answers = await _at_once(
        desk,
        *[
            RecordPayment(payment_id=payment, account_id=account, amount_nano_usd=USD)
            for account in accounts
        ],
    )
    assert sorted(type(each).__name__ for each in answers) == ["PaymentKept", "Refused"]
    assert sum([await _available(database, account) for account in accounts]) == USD


async def test_reports_can_be_neither_changed_nor_deleted(
    desk: Desk, database: asyncpg.Connection
) -> None:
    payment = f"stripe/{new_id()}"
    await desk.answer(RecordRefund(payment_id=payment, refunded_nano_usd=USD))
    for statement in (
        "update payment_reports set amount_nano_usd = 1",
        "delete from payment_reports",
        "truncate payment_reports",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute(statement)


async def test_the_check_sees_a_movement_without_its_transfer_and_a_report_that_is_not_booked(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account, payment = AccountId(new_id()), f"stripe/{new_id()}"
    await desk.answer(
        RecordPayment(payment_id=payment, account_id=account, amount_nano_usd=10 * USD)
    )
    transaction = database.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        await database.execute(
            "insert into credit_movements (account_id, key, kind, input_hash, amount_nano_usd)"
            " values ($1, 'forged', 'promotion', 'x', 5)",
            account,
        )
        await database.execute(
            "insert into payment_reports (payment_id, kind, subject, amount_nano_usd)"
            " values ($1, 'refunded', '5', 5)",
            payment,
        )
        books = problems_of(await read_books(database))
    finally:
        await transaction.rollback()
    assert books == [
        "of 1 payments something else went back than their reports say",
        f"account {account} differs from its rows: moved_nano_usd",
    ]


async def test_top_ups_from_before_movements_keep_their_meaning(
    infrastructure: Infrastructure,
) -> None:
    before = (
        "insert into accounts (account_id) values ('a');"
        "insert into top_ups (account_id, key, amount_nano_usd) values ('a', 'k', 5000000000)"
    )
    async with migrated(infrastructure, {"0007_credit_movements.sql": before}) as connection:
        row = await connection.fetchrow("select * from credit_movements")
        assert row is not None
        assert (row["kind"], row["input_hash"]) == ("cash", input_hash(MovementKind.CASH, 5 * USD))
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append only"):
            await connection.execute("delete from credit_movements")
