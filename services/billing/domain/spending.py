"""What was spent with an API key, by UTC day, week from Monday, and month."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from shared.events.billing import Spending, SpendingPeriod


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySpent:
    """What was spent on one day; `day` None stands for all days that no period needs one by one."""

    day: date | None
    credits_nano_usd: int
    byok_list_cost_nano_usd: int


def first_day_needed(today: date) -> date:
    """The earliest day of this month and this week."""
    return min(today.replace(day=1), _monday(today))


def spending(days: Iterable[DaySpent], today: date) -> Spending:
    """Add days up into the periods that `today` lies in."""
    known = list(days)
    monday, first = _monday(today), today.replace(day=1)
    return Spending(
        total=_sum(known),
        day=_sum(each for each in known if each.day == today),
        week=_sum(each for each in known if each.day is not None and monday <= each.day <= today),
        month=_sum(each for each in known if each.day is not None and first <= each.day <= today),
    )


def _monday(today: date) -> date:
    return today - timedelta(days=today.weekday())


def _sum(days: Iterable[DaySpent]) -> SpendingPeriod:
    credits_nano_usd = byok_nano_usd = 0
    for each in days:
        credits_nano_usd += each.credits_nano_usd
        byok_nano_usd += each.byok_list_cost_nano_usd
    return SpendingPeriod(credits_nano_usd=credits_nano_usd, byok_list_cost_nano_usd=byok_nano_usd)
