"""Which partition the next piece of work goes to.

Work has no order to keep, so its key need not choose the partition. What is sent within one burst
goes to the same one: records that go out together then share a batch, which a producer, the broker
and a consumer each handle once, where keys would scatter them over as many batches as there are
partitions. Kafka's own producer does so with records that have no key (KIP-480).
"""

from typing import Final

BURST_SECONDS: Final = 0.005
"""Long enough for what a busy process sends at once; short enough that members share evenly."""


class Bursts:
    """Goes round the partitions of one topic, a burst at each."""

    __slots__ = ("_begun_at", "_turn")

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self._turn = 0
        self._begun_at = float("-inf")

    def partition(self, partitions: int, *, now: float) -> int:
        """The partition for a record that is sent now; `now` in seconds that never go back."""
        if now - self._begun_at > BURST_SECONDS:
            self._begun_at = now
            self._turn += 1
        return self._turn % partitions
