"""Where keyed records go."""

from collections import Counter

from shared.ids import new_id
from shared.kafka.producer import partition_by_key


def test_a_key_always_goes_to_the_same_partition() -> None:
    key = new_id().encode()

    assert len({partition_by_key(key, 48) for _ in range(3)}) == 1


def test_keys_spread_over_all_partitions() -> None:
    counts = Counter(partition_by_key(new_id().encode(), 4) for _ in range(4_000))

    assert len(counts) == 4
    assert min(counts.values()) > 800


def test_a_record_without_a_key_has_a_place_too() -> None:
    assert partition_by_key(None, 2) == 0
