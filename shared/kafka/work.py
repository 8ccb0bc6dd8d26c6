"""Consuming work: each record its own task, and the offset committed on receipt.

Rules: a record is ours only when the commit of its offset has succeeded, so that no two processes
ever do the same work; whoever takes a record must wait for `Claim.won` before anything with an
effect outside. Work that was claimed and then lost with its process is not done again: the one who
waits for it notices. Partitions are paused when as much is in flight as may be.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.errors import PoisonRecord
from shared.events.codec import Received
from shared.events.topic import Topic
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import POLL_SECONDS_MAX, decode_record, open_consumer
from shared.kafka.dead_letters import DeadLetters
from shared.tasks import TaskScope
from shared.time_limit import TimeLimit

_COMMIT_SECONDS_MAX: Final = 5.0
_POLL_RECORDS_MAX: Final = 200


class _Outcome:
    """Whether the records committed together are ours, once it is known."""

    __slots__ = ("_waiting", "is_won")

    def __init__(self) -> None:
        self.is_won: bool | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def known(self) -> bool:
        """Wait for it; whoever is cancelled meanwhile leaves the others waiting."""
        if self.is_won is None:
            wake = asyncio.get_running_loop().create_future()
            self._waiting.append(wake)
            await wake
        return bool(self.is_won)

    def settle(self, *, is_won: bool) -> None:
        """Tell it; the first word stands."""
        if self.is_won is not None:
            return
        self.is_won = is_won
        for wake in self._waiting:
            if not wake.done():
                wake.set_result(None)
        self._waiting.clear()


class Claim:
    """Our right to one record."""

    __slots__ = ("_bytes", "_consumer", "_open", "_outcome")

    def __init__(self, consumer: "WorkConsumer", outcome: _Outcome, size_bytes: int) -> None:
        """Made by the consumer; `outcome` is shared by the records committed together."""
        self._consumer = consumer
        self._outcome = outcome
        self._bytes = size_bytes
        self._open = True

    def won(self) -> Coroutine[Any, Any, bool]:
        """True once the record is ours alone; False when somebody else will get it."""
        return self._outcome.known()

    def done(self) -> None:
        """The work has ended, however: its place is free. May be called twice."""
        if self._open:
            self._open = False
            self._consumer.release(self._bytes)


class WorkConsumer:
    """One member of a group that shares out work."""

    def __init__(
        self,
        config: KafkaConfig,
        *,
        group: str,
        topic: Topic,
        start: Callable[[Received, Claim], None],
        dead_letters: DeadLetters,
        in_flight_max: int,
        bytes_max: int,
    ) -> None:
        """`start` must return at once. Limits count records and bytes whose claim is not done."""
        self._config = config
        self._group = group
        self._topic = topic
        self._start = start
        self._dead_letters = dead_letters
        self._in_flight_max = in_flight_max
        self._bytes_max = bytes_max
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._room = asyncio.Event()
        self._problem: str | None = "has not joined its group"
        self._offsets: dict[TopicPartition, int] = {}
        self._outcome: _Outcome | None = None
        """Shared by the records that the next commit will claim."""
        self._committing: _Outcome | None = None
        """Shared by those that the last commit claims."""
        self._uncommitted = asyncio.Event()

    def problem(self) -> str | None:
        """Why no work is taken, or None."""
        return self._problem

    @property
    def in_flight(self) -> int:
        """Records taken whose claim is not done."""
        return self._in_flight

    def release(self, size_bytes: int) -> None:
        """Called by a claim that is done."""
        self._in_flight -= 1
        self._in_flight_bytes -= size_bytes
        self._room.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Take work until `stop`, then leave the group; what was taken goes on elsewhere."""
        async with (
            open_consumer(self._config, self._topic.name, group=self._group) as consumer,
            TaskScope() as scope,
        ):
            committing = scope.start(self._commit_as_taken(consumer), name="commit claims")
            self._problem = None
            while not stop.is_set():
                if committing.done():
                    committing.result()
                if not self._has_room():
                    await self._wait_for_room(consumer, stop)
                    continue
                batch = await consumer.getmany(
                    timeout_ms=int(POLL_SECONDS_MAX * 1000),
                    max_records=min(_POLL_RECORDS_MAX, self._in_flight_max - self._in_flight),
                )
                if batch:
                    await self._take(batch)
            self._problem = "is stopping"
            await self._settle()

    def _has_room(self) -> bool:
        return self._in_flight < self._in_flight_max and self._in_flight_bytes < self._bytes_max

    async def _wait_for_room(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        """Stand still with the partitions paused, so that the client goes on polling and lives."""
        consumer.pause(*consumer.assignment())
        self._room.clear()
        while not stop.is_set() and not self._has_room():
            try:
                async with asyncio.timeout(POLL_SECONDS_MAX):
                    await self._room.wait()
            except TimeoutError:
                # paused partitions return nothing; a rebalance meanwhile is noticed here
                await consumer.getmany(timeout_ms=0, max_records=1)
                consumer.pause(*consumer.assignment())
            self._room.clear()
        consumer.resume(*consumer.paused())

    async def _take(self, batch: dict[TopicPartition, list[Any]]) -> None:
        if self._outcome is None:
            self._outcome = _Outcome()
        outcome = self._outcome
        for tp, records in batch.items():
            self._offsets[tp] = records[-1].offset + 1
        self._uncommitted.set()
        for records in batch.values():
            for record in records:
                try:
                    received = decode_record(record)
                except PoisonRecord as error:
                    await self._dead_letters.offer(record, error.reason)
                    continue
                self._dead_letters.readable()
                size_bytes = len(record.value)
                self._in_flight += 1
                self._in_flight_bytes += size_bytes
                self._start(received, Claim(self, outcome, size_bytes))

    async def _commit_as_taken(self, consumer: AIOKafkaConsumer) -> None:
        """Commit what was taken while the last commit was under way, again and again."""
        while True:
            await self._uncommitted.wait()
            self._uncommitted.clear()
            offsets, self._offsets = self._offsets, {}
            outcome, self._outcome = self._outcome, None
            self._committing = outcome
            is_won = False
            try:
                with TimeLimit(_COMMIT_SECONDS_MAX):
                    await consumer.commit(offsets)
                is_won = True
            except (KafkaError, TimeoutError):
                # lost to a rebalance, or unknown: then not ours, and nobody calls a provider twice
                is_won = False
            finally:
                if outcome is not None:
                    outcome.settle(is_won=is_won)

    async def _settle(self) -> None:
        """At the end: wait for the claims under way, so that their tasks know where they stand."""
        under_way = [each for each in (self._committing, self._outcome) if each is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout(_COMMIT_SECONDS_MAX * 2):
                for outcome in under_way:
                    await outcome.known()
        for outcome in under_way:
            outcome.settle(is_won=False)
