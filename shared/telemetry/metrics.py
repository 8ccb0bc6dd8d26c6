"""Metrics of one process, for Prometheus to scrape.

Ours are called `openroute_<name>`; the process's own keep Prometheus' usual names
(`process_resident_memory_bytes`, `process_cpu_seconds_total`, `process_open_fds`, ...), so that
common dashboards find them. A label's values must come from a small closed set: an account or
generation id is never one.
"""

import asyncio
from collections.abc import Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    generate_latest,
)

from shared.telemetry.counting import Counter, Histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST
_PREFIX = "openroute_"
_LAG_SAMPLE_SECONDS = 0.5


class Metrics:
    """The process's registry; make one and hand it to the parts that measure."""

    def __init__(self) -> None:
        """Start with the metrics of the process itself."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._lag = self.gauge(
            "event_loop_lag_seconds", "How late the event loop ran a timer, at the last sample"
        )
        self._lag_max = self.gauge(
            "event_loop_lag_max_seconds", "The greatest lag since the last scrape"
        )

    def counter(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
        """A number that only grows; it is exposed with `_total` at its end."""
        counter = Counter(_PREFIX + name, help_text, labels)
        self._registry.register(counter)
        return counter

    def gauge(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
        """A number that goes up and down."""
        return Gauge(_PREFIX + name, help_text, labels, registry=self._registry)

    def histogram(
        self, name: str, help_text: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> Histogram:
        """A distribution over `buckets`, the upper bounds in the unit that the name ends with."""
        histogram = Histogram(_PREFIX + name, help_text, labels, buckets)
        self._registry.register(histogram)
        return histogram

    def render(self) -> bytes:
        """Everything in Prometheus' text format; its content type is CONTENT_TYPE.

        It reads files of the process's own, so call it off the event loop.
        """
        rendered = generate_latest(self._registry)
        self._lag_max.set(0)
        return rendered

    async def watch_event_loop(self) -> None:
        """Sample the event loop's lag until cancelled; `shared.http.health` runs it."""
        loop = asyncio.get_running_loop()
        worst = 0.0
        while True:
            due = loop.time() + _LAG_SAMPLE_SECONDS
            await asyncio.sleep(_LAG_SAMPLE_SECONDS)
            lag = max(0.0, loop.time() - due)
            self._lag.set(lag)
            worst = max(lag, _value_of(self._lag_max))
            self._lag_max.set(worst)


def _value_of(gauge: Gauge) -> float:
    return next(iter(gauge.collect())).samples[0].value
