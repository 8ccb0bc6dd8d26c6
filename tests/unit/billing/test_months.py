from datetime import UTC, datetime, timedelta

from services.billing.domain.authorize import authorize_spend
from services.billing.domain.settle import settle_finished
from services.billing.domain.spending import DaySpent, spending
from shared.events.fees import FeeWaived
from tests.unit.billing.made import (
    ACCOUNT,
    API_KEY,
    POLICY,
    authorize,
    finished,
    generation,
    page_with,
    promised,
)

LAST_MOMENT = datetime(2025, 10, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def test_a_generation_counts_in_the_month_in_which_it_started() -> None:
    page = page_with(0)
    before = generation(1, LAST_MOMENT)
    after = generation(2, LAST_MOMENT + timedelta(milliseconds=1))
    authorize_spend(page, authorize(1, generation_id=before), POLICY)
    for number, generation_id in ((1, before), (2, after)):
        settle_finished(
            page, finished(number, generation_id=generation_id, spend=promised(number)), POLICY
        )
    told = [each.event for each in page.entries.fee_events]
    assert [each.month for each in told if isinstance(each, FeeWaived)] == ["2025-10", "2025-11"]
    assert page.allotment(ACCOUNT, "2025-10").used == 1
    assert page.allotment(ACCOUNT, "2025-10").reserved == 0
    assert page.allotment(ACCOUNT, "2025-11").used == 1


def test_a_new_month_has_its_whole_allotment() -> None:
    page = page_with(0)
    for number in (1, 2):
        generation_id = generation(number, LAST_MOMENT)
        authorize_spend(page, authorize(number, generation_id=generation_id), POLICY)
    next_month = generation(3, LAST_MOMENT + timedelta(seconds=1))
    answer = authorize_spend(page, authorize(3, generation_id=next_month), POLICY)
    assert getattr(answer, "waived", None)


def test_spending_stands_on_the_day_of_the_start() -> None:
    page = page_with(0)
    settle_finished(page, finished(1, generation_id=generation(1, LAST_MOMENT)), POLICY)
    assert list(page.entries.spent) == [(ACCOUNT, API_KEY, LAST_MOMENT.date())]
    days = [DaySpent(day=LAST_MOMENT.date(), credits_nano_usd=1, byok_list_cost_nano_usd=0)]
    assert spending(days, LAST_MOMENT.date() + timedelta(days=1)).month.credits_nano_usd == 0
