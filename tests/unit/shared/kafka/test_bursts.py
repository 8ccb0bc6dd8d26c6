"""Work goes in bursts: together while it comes together, evenly over time."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shared.kafka.bursts import BURST_SECONDS, Bursts


def test_what_is_sent_together_goes_to_one_partition() -> None:
    bursts = Bursts()

    chosen = {bursts.partition(4, now=n * BURST_SECONDS / 10) for n in range(10)}

    assert len(chosen) == 1


def test_what_comes_one_by_one_goes_round_all_partitions() -> None:
    bursts = Bursts()

    chosen = Counter(bursts.partition(4, now=n * BURST_SECONDS * 2) for n in range(40))

    assert chosen == {0: 10, 1: 10, 2: 10, 3: 10}


@given(st.lists(st.floats(0, 1), max_size=50), st.integers(1, 48))
def test_there_is_always_a_partition_that_exists(gaps: list[float], partitions: int) -> None:
    bursts, now = Bursts(), 0.0
    for gap in gaps:
        now += gap
        assert 0 <= bursts.partition(partitions, now=now) < partitions


def test_a_burst_ends_though_more_keeps_coming() -> None:
    bursts = Bursts()

    chosen = {bursts.partition(4, now=n * BURST_SECONDS / 10) for n in range(100)}

    assert chosen == {0, 1, 2, 3}
