"""What an API key may spend, in which window, and what is left of it."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final, Literal, TypeAlias

from shared.events.billing import Spending

LimitReset: TypeAlias = Literal["daily", "weekly", "monthly"]
"""UTC days, weeks from Monday, months."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimit:
    """At most `amount_nano_usd` in each window of `reset`, or ever; None is no limit.

    Credits count, and with `includes_byok` the list cost of BYOK use too.
    """

    amount_nano_usd: int | None = None
    reset: LimitReset | None = None
    includes_byok: bool = False

    @property
    def counts_byok(self) -> bool:
        """Whether there is a limit and BYOK use counts towards it."""
        return self.amount_nano_usd is not None and self.includes_byok

    def spent_nano_usd(self, spending: Spending) -> int:
        """What counts in the present window."""
        match self.reset:
            case "daily":
                period = spending.day
            case "weekly":
                period = spending.week
            case "monthly":
                period = spending.month
            case _:
                period = spending.total
        byok_nano_usd = period.byok_list_cost_nano_usd if self.includes_byok else 0
        return period.credits_nano_usd + byok_nano_usd

    def remaining_nano_usd(self, spending: Spending) -> int | None:
        """What is left of the present window; below zero once the limit was lowered past it."""
        if self.amount_nano_usd is None:
            return None
        return self.amount_nano_usd - self.spent_nano_usd(spending)

    def resets_at(self, now: datetime) -> datetime | None:
        """When the next window begins, None when there is none."""
        if self.reset is None:
            return None
        today = now.astimezone(UTC).date()
        match self.reset:
            case "daily":
                first = today + timedelta(days=1)
            case "weekly":
                first = today + timedelta(days=7 - today.weekday())
            case _:
                first = (today.replace(day=1) + timedelta(days=31)).replace(day=1)
        return datetime.combine(first, time.min, UTC)


NO_LIMIT: Final = KeyLimit()
