"""A batch of facts falls into lanes that may be handled beside each other."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from shared.kafka.facts import LANES, LANES_FROM_RECORDS, lanes_of


@dataclass(frozen=True)
class Placed:
    partition: int
    offset: int


def batch(partitions: list[int]) -> list[Placed]:
    return [Placed(partition, offset) for offset, partition in enumerate(partitions)]


# bytes, since lists of numbers are hardly ever drawn as long as lanes need
_few = st.binary(max_size=LANES_FROM_RECORDS - 1)
_many = st.binary(min_size=LANES_FROM_RECORDS, max_size=3 * LANES_FROM_RECORDS)


@given(_few | _many)
def test_each_partition_keeps_its_order_within_one_lane(drawn: bytes) -> None:
    partitions = [each % 12 for each in drawn]
    records = batch(partitions)

    lanes = lanes_of(records)

    assert sorted((each for lane in lanes for each in lane), key=lambda r: r.offset) == records
    assert all(lane == sorted(lane, key=lambda r: r.offset) for lane in lanes)
    for partition in set(partitions):
        assert sum(partition in {each.partition for each in lane} for lane in lanes) == 1


def test_a_small_batch_is_one_lane_and_a_large_one_of_many_partitions_more() -> None:
    assert len(lanes_of(batch(list(range(12))))) == 1
    assert len(lanes_of(batch(list(range(12)) * LANES_FROM_RECORDS))) == LANES
