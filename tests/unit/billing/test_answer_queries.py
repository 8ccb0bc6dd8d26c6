"""Questions are bounded, and one that cannot be answered spoils no other."""

from datetime import UTC, date, datetime, timedelta

import pytest

from services.billing.use_cases.answer_queries import (
    ACTIVITY_ROWS_MAX,
    DAYS_MAX,
    RECEIPTS_MAX,
    AnswerQueries,
)
from shared.clock import SystemClock
from shared.errors import PoisonRecord, Unavailable
from shared.events.billing import QuerySpending
from shared.events.envelope import CallReply, Event, Refused
from shared.events.receipts import (
    ActivityListed,
    ActivityRow,
    Charge,
    CreditsTold,
    QueryActivity,
    QueryCredits,
    QueryReceipt,
    QueryReceipts,
    Receipt,
    ReceiptFound,
    ReceiptsListed,
)
from shared.events.topics import INGRESS_REPLIES
from shared.ids import AccountId, GenerationId
from shared.kafka.calls import ReceivedCall
from tests.unit.billing.made import ACCOUNT, API_KEY, generation

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TODAY = NOW.date()
CREDITS = CreditsTold(added_nano_usd=3, used_nano_usd=1, available_nano_usd=2, held_nano_usd=0)


class Shelf:
    """A read side of as many rows as one wants."""

    def __init__(self, rows: int = 0, *, is_away: bool = False) -> None:
        self._rows = rows
        self._is_away = is_away

    async def receipt(self, account_id: AccountId, generation_id: GenerationId) -> Receipt | None:
        if generation_id == generation(99):
            raise PoisonRecord("PostgreSQL refuses a value")
        return None if generation_id == generation(404) else _receipt(account_id)

    async def receipts(self, query: QueryReceipts, *, rows_max: int) -> list[Receipt]:
        return [_receipt(query.account_id)] * min(self._rows, rows_max)

    async def activity(self, query: QueryActivity, *, rows_max: int) -> list[ActivityRow]:
        assert query.account_id == ACCOUNT
        row = ActivityRow(
            day=TODAY,
            model="m",
            provider="p",
            endpoint="e",
            requests=1,
            prompt_tokens=1,
            completion_tokens=1,
            reasoning_tokens=0,
            cached_tokens=0,
            credits_nano_usd=0,
            byok_list_cost_nano_usd=0,
        )
        return [row] * min(self._rows, rows_max)

    async def credits(self, account_id: AccountId) -> CreditsTold:
        if self._is_away:
            raise Unavailable("postgres")
        assert account_id == ACCOUNT
        return CREDITS


def _receipt(account_id: AccountId) -> Receipt:
    return Receipt(
        generation_id=generation(1),
        account_id=account_id,
        outcome="completed",
        charge=Charge(kind="nothing"),
        started_at=NOW,
        finished_at=NOW,
        posted_at=NOW,
    )


async def answers(shelf: Shelf, *queries: Event) -> list[CallReply]:
    calls = [
        ReceivedCall(
            command=query,
            call_id=str(number),
            source="test",
            expires_at=NOW,
            reply_topic=INGRESS_REPLIES,
            reply_partition=0,
        )
        for number, query in enumerate(queries)
    ]
    return list(await AnswerQueries(shelf, SystemClock())(calls))


def activity(first: date = TODAY, last: date = TODAY) -> QueryActivity:
    return QueryActivity(account_id=ACCOUNT, first_day=first, last_day=last)


def receipts(limit: int) -> QueryReceipts:
    return QueryReceipts(account_id=ACCOUNT, first_day=TODAY, last_day=TODAY, limit=limit)


async def test_each_question_gets_its_own_answer_in_order() -> None:
    found, missing, poisonous, credits_told, unknown = await answers(
        Shelf(),
        QueryReceipt(account_id=ACCOUNT, generation_id=generation(1)),
        QueryReceipt(account_id=ACCOUNT, generation_id=generation(404)),
        QueryReceipt(account_id=ACCOUNT, generation_id=generation(99)),
        QueryCredits(account_id=ACCOUNT),
        QuerySpending(account_id=ACCOUNT, api_key_hash=API_KEY),
    )

    assert isinstance(found, ReceiptFound)
    assert isinstance(missing, Refused)
    assert missing.code == "not_found"
    assert isinstance(poisonous, Refused)
    assert poisonous.code == "invalid"
    assert credits_told == CREDITS
    assert isinstance(unknown, Refused)


@pytest.mark.parametrize(("rows", "is_last"), [(3, False), (2, True), (0, True)])
async def test_a_page_says_whether_anything_follows(rows: int, *, is_last: bool) -> None:
    (page,) = await answers(Shelf(rows), receipts(limit=2))

    assert isinstance(page, ReceiptsListed)
    assert (len(page.receipts), page.is_last) == (min(rows, 2), is_last)


@pytest.mark.parametrize("limit", [0, RECEIPTS_MAX + 1])
async def test_a_page_has_its_limits(limit: int) -> None:
    (refused,) = await answers(Shelf(), receipts(limit))

    assert isinstance(refused, Refused)
    assert refused.field == "limit"


async def test_activity_is_whole_or_refused() -> None:
    (whole,) = await answers(Shelf(ACTIVITY_ROWS_MAX), activity())
    (refused,) = await answers(Shelf(ACTIVITY_ROWS_MAX + 1), activity())

    assert isinstance(whole, ActivityListed)
    assert len(whole.rows) == ACTIVITY_ROWS_MAX
    assert isinstance(refused, Refused)
    assert refused.code == "too_many"


@pytest.mark.parametrize("days", [-1, DAYS_MAX])
async def test_days_are_in_order_and_not_too_many(days: int) -> None:
    (refused,) = await answers(Shelf(), activity(TODAY, TODAY + timedelta(days=days)))

    assert isinstance(refused, Refused)
    assert refused.field == "to"


async def test_what_cannot_be_read_now_is_asked_again_later() -> None:
    with pytest.raises(Unavailable):
        await answers(Shelf(is_away=True), QueryCredits(account_id=ACCOUNT))
