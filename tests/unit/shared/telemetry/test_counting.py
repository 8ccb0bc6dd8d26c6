"""Our counters and histograms say what the library's own say."""

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from shared.telemetry.counting import Counter, Histogram

BOUNDS = (0.01, 0.5, 1, 30)
VALUES = st.one_of(st.sampled_from(BOUNDS), st.floats(0, 100, allow_nan=False))


def told(*collectors: Collector) -> list[str]:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


@given(st.lists(st.tuples(st.sampled_from(["own", "shared"]), st.integers(0, 10**12))))
def test_counters_with_labels(counted: list[tuple[str, int]]) -> None:
    ours = Counter("attempts", "Attempts", ["tier"])
    theirs = prometheus_client.Counter("attempts", "Attempts", ["tier"], registry=None)
    for tier, by in counted:
        ours.labels(tier).inc(by)
        theirs.labels(tier).inc(by)

    assert told(ours) == told(theirs)


@given(st.lists(VALUES))
def test_histograms_with_labels(values: list[float]) -> None:
    ours = Histogram("wait_seconds", "Waiting", ["route"], BOUNDS)
    theirs = prometheus_client.Histogram(
        "wait_seconds", "Waiting", ["route"], buckets=BOUNDS, registry=None
    )
    for value in values:
        ours.labels("/key").observe(value)
        theirs.labels("/key").observe(value)

    assert told(ours) == told(theirs)


def test_what_has_no_labels_is_told_from_the_start() -> None:
    counter, histogram = Counter("frames", "Frames", ()), Histogram("took", "Time", (), BOUNDS)
    assert told(counter, histogram) == told(
        prometheus_client.Counter("frames", "Frames", registry=None),
        prometheus_client.Histogram("took", "Time", buckets=BOUNDS, registry=None),
    )
    counter.inc()
    counter.inc(2)
    histogram.observe(0.5)
    assert "frames_total 3.0" in told(counter)
    assert 'took_bucket{le="0.5"} 1.0' in told(histogram)


def test_labels_of_another_number_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="tier"):
        Counter("attempts", "Attempts", ["tier"]).labels("own", "openai")
