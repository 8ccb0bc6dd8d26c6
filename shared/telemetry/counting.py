"""Counters and histograms for what happens at every request, told to Prometheus at each scrape.

The library's own guard every increment with a lock and a handful of calls, which with some six a
request cost as much as its log line. These are numbers of the event loop's thread, and must be
counted there; `shared.telemetry.metrics` makes them.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from typing_extensions import override


class Count:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        """Zero."""
        self.value: float = 0

    def inc(self, by: float = 1) -> None:
        """Count; `by` is not negative."""
        self.value += by


class Distribution:
    """How many values were up to each bound, and the sum of all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascend; beyond the last one values are counted too."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value; a bound counts what is equal to it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


N = TypeVar("N", Count, Distribution)


class _Labelled(Collector, Generic[N]):
    """One number for each combination of labels' values; without labels there is one from the start."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str]) -> None:
        self._name = name
        self._help = help_text
        self._names = tuple(labels)
        self._numbers: dict[tuple[str, ...], N] = {}
        if not labels:
            self._numbers[()] = self._new()

    def _new(self) -> N:
        raise NotImplementedError

    def describe(self) -> Iterable[Metric]:
        """What the registry asks for the names that are taken."""
        return self.collect()

    def _known(self) -> Sequence[tuple[tuple[str, ...], N]]:
        # a scrape runs in a thread of its own, and new labels may come meanwhile: a copy is made at once
        return list(self._numbers.items())

    def labels(self, *values: str) -> N:
        """The number of these labels; keep it, for looking it up costs more than counting."""
        number = self._numbers.get(values)
        if number is None:
            if len(values) != len(self._names):
                raise ValueError(f"{self._name} has the labels {self._names}")
            number = self._numbers[values] = self._new()
        return number


class Counter(_Labelled[Count]):
    """Counts, by labels; exposed with `_total` at the end of its name."""

    @override
    def _new(self) -> Count:
        return Count()

    def inc(self, by: float = 1) -> None:
        """Count, where there are no labels."""
        self._numbers[()].inc(by)

    @override
    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._help, labels=self._names)
        for values, count in self._known():
            family.add_metric(values, count.value)
        yield family


class Histogram(_Labelled[Distribution]):
    """Distributions over the same bounds, by labels."""

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        """`bounds` are the buckets' upper ends, ascending; that of infinity is added."""
        self._bounds = tuple(bounds)
        super().__init__(name, help_text, labels)

    @override
    def _new(self) -> Distribution:
        return Distribution(self._bounds)

    def observe(self, value: float) -> None:
        """Count a value, where there are no labels."""
        self._numbers[()].observe(value)

    @override
    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._help, labels=self._names)
        ends = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, seen in self._known():
            buckets = list(zip(ends, accumulate(seen.counts), strict=True))
            family.add_metric(values, buckets, sum_value=seen.total)
        yield family
