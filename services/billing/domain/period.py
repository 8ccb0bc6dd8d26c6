"""From when to when generations started that are reconciled."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.billing.domain.months import month_after
from shared.ids import GenerationId, month_of, started_at

FACTS_DAYS = 35
"""How long Kafka keeps facts."""
CLOCKS_APART = timedelta(minutes=1)
"""How far the clocks of different machines may be apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """`begin` is part of it, `end` is not."""

    begin: datetime
    end: datetime

    def holds(self, generation_id: str) -> bool:
        """Whether a generation started within it; never what is no generation's id."""
        try:
            return self.begin <= started_at(GenerationId(generation_id)) < self.end
        except (ValueError, OverflowError, OSError):
            return False

    def surely_holds(self, seconds: float) -> bool:
        """Whether a moment lies in it on every machine's clock; seconds since 1970."""
        margin = CLOCKS_APART.total_seconds()
        return self.begin.timestamp() + margin <= seconds < self.end.timestamp() - margin

    @property
    def first_month(self) -> str:
        """The month in which it begins."""
        return month_of(self.begin)


def period_of_month(month: str) -> Period:
    """A UTC month, `YYYY-MM`; ValueError when it is none."""
    begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    end = datetime.strptime(month_after(month), "%Y-%m").replace(tzinfo=UTC)
    return Period(begin=begin, end=end)


def first_moment(first_unsealed_month: str | None, now: datetime) -> datetime:
    """From when on to compare: what no seal holds yet, and all facts that Kafka still has."""
    facts = now - timedelta(days=FACTS_DAYS)
    if first_unsealed_month is None:
        return facts
    return min(facts, period_of_month(first_unsealed_month).begin)


def first_id_at(moment: datetime) -> str:
    """The least id of a generation that started at a moment: ids sort by time."""
    milliseconds = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"gen-{milliseconds[:8]}-{milliseconds[8:]}"
