"""Counts what billing does, for Prometheus."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from services.billing.domain.page import Entries
from shared.events.billing import SpendRefused
from shared.events.envelope import CallReply, Refused
from shared.telemetry.metrics import Metrics

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class PrometheusObserver:
    """All of billing's own metrics."""

    def __init__(self, metrics: Metrics) -> None:
        """Register them."""
        self._postings = metrics.counter(
            "billing_postings", "Generations booked, by what was booked", ("kind",)
        )
        self._abandoned = metrics.counter(
            "billing_abandonments", "Generations of which nothing may be charged", ("kind",)
        )
        self._duplicates = metrics.counter(
            "billing_duplicates", "Facts that had been booked before and changed nothing"
        )
        self._uncollected = metrics.counter(
            "billing_uncollected_nano_usd", "What no credits were left for"
        )
        self._batch_size = metrics.histogram(
            "billing_batch_size", "Generations booked in one transaction", (), _SIZES
        )
        self._batch_seconds = metrics.histogram(
            "billing_batch_seconds", "How long one transaction took", ("work",), _SECONDS
        )
        self._answers = metrics.counter(
            "billing_answers", "Commands answered, by the answer's type and code", ("answer",)
        )
        self._expired = metrics.counter("billing_holds_expired", "Holds that ran out")
        self._open_holds = metrics.gauge("billing_holds_open", "Holds that are open")
        self._lag = metrics.gauge(
            "billing_lag_seconds", "How long the oldest fact at hand has waited"
        )

    def posted(self, entries: Entries, repeated: int, seconds: float) -> None:
        """A batch of facts was booked."""
        settlements = [finished.settlement for finished in entries.finished]
        for kind, number in Counter(each.kind for each in settlements).items():
            self._postings.labels(kind).inc(number)
        self._uncollected.inc(sum(each.uncollected_nano_usd for each in settlements))
        for abandonment in entries.abandonments:
            self._abandoned.labels(abandonment.kind).inc()
        self._duplicates.inc(repeated + entries.duplicates)
        self._batch_size.observe(len(entries.finished))
        self._batch_seconds.labels("facts").observe(seconds)

    def served(self, answers: Sequence[CallReply], seconds: float) -> None:
        """A batch of commands was answered."""
        for answer in answers:
            # Both codes are words of ours from a small set.
            code = f" {answer.code}" if isinstance(answer, SpendRefused | Refused) else ""
            self._answers.labels(type(answer).__name__ + code).inc()
        self._batch_seconds.labels("commands").observe(seconds)

    def not_collected(self, nano_usd: int) -> None:
        """Money went back that credits did not cover."""
        self._uncollected.inc(nano_usd)

    def expired(self, holds: int) -> None:
        """Holds ran out."""
        self._expired.inc(holds)

    def state(self, *, open_holds: int, lag_seconds: float) -> None:
        """How things stand now."""
        self._open_holds.set(open_holds)
        self._lag.set(lag_seconds)
