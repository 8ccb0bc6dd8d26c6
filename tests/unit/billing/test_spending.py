from datetime import date

from services.billing.domain.spending import (
    DaySpent,
    first_day_needed,
    keys_asked_for,
    spending,
    tell_spending,
)
from shared.events.billing import (
    SPENDING_KEYS_MAX,
    QuerySpendingByKey,
    SpendingByKey,
    SpendingPeriod,
)
from shared.events.envelope import Refused
from shared.ids import ApiKeyHash
from tests.unit.billing.made import ACCOUNT, API_KEY, OTHER_ACCOUNT

SUNDAY = date(2025, 11, 2)


def _day(day: date | None, nano_usd: int) -> DaySpent:
    return DaySpent(day=day, credits_nano_usd=nano_usd, byok_list_cost_nano_usd=10 * nano_usd)


def _period(nano_usd: int) -> SpendingPeriod:
    return SpendingPeriod(credits_nano_usd=nano_usd, byok_list_cost_nano_usd=10 * nano_usd)


def test_weeks_begin_on_monday_though_the_month_began_inside_them() -> None:
    days = [
        _day(None, 1_000),
        _day(date(2025, 10, 27), 100),
        _day(date(2025, 11, 1), 10),
        _day(SUNDAY, 1),
    ]
    told = spending(days, SUNDAY)
    assert first_day_needed(SUNDAY) == date(2025, 10, 27)
    assert told.total == _period(1_111)
    assert told.week == _period(111)
    assert told.month == _period(11)
    assert told.day == _period(1)


def test_nothing_spent_is_nothing() -> None:
    assert spending([], SUNDAY).total == _period(0)


def test_a_question_about_many_keys_is_answered_in_its_order() -> None:
    other = ApiKeyHash("cd" * 32)
    asked = QuerySpendingByKey(account_id=ACCOUNT, api_key_hashes=(other, API_KEY))
    days = {
        (ACCOUNT, API_KEY): [
            DaySpent(
                day=None,
                credits_nano_usd=1,
                byok_list_cost_nano_usd=2,
                last_day=date(2025, 10, 1),
            ),
            DaySpent(
                day=SUNDAY, credits_nano_usd=0, byok_list_cost_nano_usd=0
            ),  # given back: not a use
        ],
        (OTHER_ACCOUNT, other): [_day(SUNDAY, 5)],
    }
    assert keys_asked_for(asked) == [(ACCOUNT, other), (ACCOUNT, API_KEY)]

    told = tell_spending(asked, days, SUNDAY)

    assert isinstance(told, SpendingByKey)
    assert [each.api_key_hash for each in told.keys] == [other, API_KEY]
    assert [each.spending.total.credits_nano_usd for each in told.keys] == [0, 1]
    assert [each.last_day for each in told.keys] == [None, date(2025, 10, 1)]


def test_a_question_about_too_many_keys_reads_nothing() -> None:
    hashes = tuple(ApiKeyHash(f"{each:064x}") for each in range(SPENDING_KEYS_MAX + 1))
    asked = QuerySpendingByKey(account_id=ACCOUNT, api_key_hashes=hashes)
    assert keys_asked_for(asked) == []
    refused = tell_spending(asked, {}, SUNDAY)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", "api_key_hashes")
