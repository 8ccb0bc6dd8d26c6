"""Consuming facts: a batch, one transaction, then the offsets. Nothing is skipped.

Rules: the handler puts the effects of a batch, with its inbox rows, into one transaction, because a
crash before the commit brings the same batch again. Unavailable means the same batch again, later.
Poison goes to the dead letters and the rest goes on, until the brake. Everything else ends the
process before the offset is committed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from shared.clock import Clock
from shared.errors import PoisonRecord, Unavailable
from shared.events.codec import Received
from shared.events.topic import SMALL_RECORD_BYTES_MAX, Kind, Topic
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import (
    Intake,
    commit_quietly,
    decode_record,
    offsets_after,
    open_consumer,
)
from shared.kafka.dead_letters import DeadLetters
from shared.tasks import TaskScope

BATCH_RECORDS_MAX: Final = 500
GATHER_SECONDS: Final = 0.08
"""Facts are on nobody's way: after each look they gather this long, for one transaction for a
hundred costs a fraction of a hundred transactions. Less than aiokafka's back-off of 0.1 s, after
which it polls the other partitions without those that hold unread records (`Intake`)."""
BUSY_RECORDS: Final = 32
"""A batch from this size on says that many come: then they gather for PAUSE_SECONDS more."""
PAUSE_SECONDS: Final = 0.5
LANES: Final = 2
LANES_FROM_RECORDS: Final = 128
"""Of fewer, one transaction costs less than two save."""
_RETRY_SECONDS_MAX: Final = 5.0
_RETRY_SECONDS_MIN: Final = 0.1


class _Placed(Protocol):
    @property
    def partition(self) -> int: ...


R = TypeVar("R", bound=_Placed)
Handle = Callable[[Sequence[Received]], Awaitable[None]]


class FactsConsumer:
    """One member of a group that turns facts into effects."""

    def __init__(
        self,
        config: KafkaConfig,
        *,
        group: str,
        topics: Sequence[Topic],
        handle: Handle,
        dead_letters: DeadLetters,
        clock: Clock,
    ) -> None:
        """`handle` takes up to 500 records of all topics, in order within each partition."""
        self._config = config
        self._group = group
        self._topics = [topic.name for topic in topics]
        self._states = frozenset(topic.name for topic in topics if topic.kind is Kind.STATE)
        self._handle = handle
        self._dead_letters = dead_letters
        self._clock = clock
        self._problem: str | None = "has not joined its group"
        self._oldest_unhandled: float | None = None

    def problem(self) -> str | None:
        """Why facts are not being handled, or None."""
        return self._problem

    def lag_seconds(self) -> float:
        """How long the batch at hand has waited for its effects."""
        since = self._oldest_unhandled
        return 0.0 if since is None else self._clock.now().timestamp() - since

    async def run(self, stop: asyncio.Event) -> None:
        """Handle facts until `stop`; the batch at hand is finished first."""
        async with (
            open_consumer(
                self._config,
                *self._topics,
                group=self._group,
                partition_bytes_max=SMALL_RECORD_BYTES_MAX,
            ) as consumer,
            TaskScope() as scope,
        ):
            intake = Intake(consumer, gather_seconds=GATHER_SECONDS)
            filling = scope.start(intake.fill(), name="intake of facts")
            self._problem = None
            while not stop.is_set():
                if filling.done():
                    filling.result()
                records = await intake.take(BATCH_RECORDS_MAX)
                if records and await self._have_effects(records, scope, stop):
                    await commit_quietly(consumer, offsets_after(records))
                if BUSY_RECORDS <= len(records) < BATCH_RECORDS_MAX:
                    await _pause(stop, PAUSE_SECONDS)

    async def _have_effects(
        self, records: Sequence[Any], scope: TaskScope, stop: asyncio.Event
    ) -> bool:
        """Handle a batch, its lanes beside each other; False when told to stop before all was done."""
        self._oldest_unhandled = min(record.timestamp for record in records) / 1000
        tasks = [
            scope.start(self._have_effect(lane, stop), name="facts of a lane")
            for lane in lanes_of(records)
        ]
        await asyncio.wait(tasks)
        if not all([task.result() for task in tasks]):  # noqa: C419 - each is looked at
            return False
        self._problem = None
        self._oldest_unhandled = None
        return True

    async def _have_effect(self, records: Sequence[Any], stop: asyncio.Event) -> bool:
        """Try until it works; False when told to stop before it did."""
        wait_seconds = _RETRY_SECONDS_MIN
        while not stop.is_set():
            try:
                await self._effect(records)
            except Unavailable as error:
                self._problem = str(error)
                await _pause(stop, wait_seconds)
                wait_seconds = min(wait_seconds * 2, _RETRY_SECONDS_MAX)
            else:
                return True
        return False

    async def _effect(self, records: Sequence[Any]) -> None:
        readable: list[tuple[Any, Received]] = []
        for record in records:
            if record.value is None and record.topic in self._states:
                continue  # a tombstone: nothing is left to be told of its key
            try:
                readable.append((record, decode_record(record)))
                self._dead_letters.readable()
            except PoisonRecord as error:
                await self._dead_letters.put(record, error.reason)
        if not readable:
            return
        try:
            await self._handle([received for _, received in readable])
        except PoisonRecord as error:
            if len(readable) == 1:
                await self._dead_letters.put(readable[0][0], error.reason)
                return
            # somebody in the batch is poison; alone each shows whether it is the one
            for record, _ in readable:
                await self._effect([record])


def lanes_of(records: Sequence[R]) -> list[list[R]]:
    """The records that may be handled beside each other: partitions have no order between them.

    What handles one lane computes while the database works for the other.
    """
    lanes: list[list[R]] = [[] for _ in range(LANES if len(records) >= LANES_FROM_RECORDS else 1)]
    for record in records:
        lanes[record.partition % len(lanes)].append(record)
    return [lane for lane in lanes if lane]


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
