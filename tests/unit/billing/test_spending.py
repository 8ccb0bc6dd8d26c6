from datetime import date

from services.billing.domain.spending import DaySpent, first_day_needed, spending
from shared.events.billing import SpendingPeriod

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
