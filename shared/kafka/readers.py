"""Reading partitions without a group: states held in memory, replies addressed to us, broadcasts.

Sources that are seldom written share one consumer: each consumer costs a process some twenty wakings
of its loop a second and the broker a poll, though nothing comes. What is busy has its own.

Rules: a source is called on the reading path and must only put things where they belong; slow work
here would stall every partition of the broker for up to 100 ms (aiokafka's prefetch back-off).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from typing_extensions import override

from shared.clock import Clock
from shared.errors import PoisonRecord, Unavailable
from shared.events.codec import Received
from shared.events.topic import Topic
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import POLL_SECONDS_MAX, decode_record, open_consumer
from shared.kafka.dead_letters import DeadLetters

_SEEK_SECONDS_MAX: Final = 30.0
_WAIT_SECONDS: Final = 1.0
"""How long the broker holds a fetch for which nothing comes."""


class Source(ABC):
    """One partition, and what becomes of its records. `ready` when read to the end seen at start."""

    def __init__(
        self, config: KafkaConfig, topic: Topic, partition: int, *, dead_letters: DeadLetters
    ) -> None:
        """Nothing is read before it runs, alone or together with others."""
        self.config = config
        self.topic = topic
        self.partition = partition
        self.ready = asyncio.Event()
        self._dead_letters = dead_letters

    async def run(self, stop: asyncio.Event) -> None:
        """Read this one alone until `stop`; see `read_together`."""
        await read_together((self,), stop)

    @abstractmethod
    async def seek(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> int:
        """Go where reading begins, and tell the partition's end."""

    @abstractmethod
    def apply(self, received: Received) -> None:
        """Take in one record."""

    def take(self, record: Any) -> None:
        """Take in one record of the client's; PoisonRecord when it cannot be read."""
        received = decode_record(record)
        self._dead_letters.readable()
        self.apply(received)

    async def put_aside(self, record: Any, reason: str) -> None:
        """Leave a record that cannot be read with the dead letters."""
        await self._dead_letters.offer(record, reason)


async def read_together(sources: Sequence[Source], stop: asyncio.Event) -> None:
    """Read all of them until `stop`, over one consumer.

    Raises Unavailable when one cannot be begun: a wrong ordinal has no partition.
    """
    by_partition = {TopicPartition(each.topic.name, each.partition): each for each in sources}
    async with open_consumer(sources[0].config, wait_seconds=_WAIT_SECONDS) as consumer:
        consumer.assign(list(by_partition))
        behind = {tp: await _begin(consumer, tp, each) for tp, each in by_partition.items()}
        while not stop.is_set():
            if behind:
                for tp in [tp for tp, end in behind.items() if await consumer.position(tp) >= end]:
                    del behind[tp]
                    by_partition[tp].ready.set()
            batch = await consumer.getmany(timeout_ms=int(POLL_SECONDS_MAX * 1000))
            for tp, records in batch.items():
                source = by_partition[tp]
                for record in records:
                    try:
                        source.take(record)
                    except PoisonRecord as error:
                        await source.put_aside(record, error.reason)


async def _begin(consumer: AIOKafkaConsumer, tp: TopicPartition, source: Source) -> int:
    try:
        async with asyncio.timeout(_SEEK_SECONDS_MAX):
            return await source.seek(consumer, tp)
    except (KafkaError, TimeoutError) as error:
        raise Unavailable("kafka", f"cannot read {tp.topic}") from error


class PartitionReader(Source):
    """Hands every record of one partition to a callback, from the end or from some time back."""

    def __init__(
        self,
        config: KafkaConfig,
        *,
        topic: Topic,
        partition: int,
        start: Literal["end"] | timedelta,
        on_record: Callable[[Received], object],
        dead_letters: DeadLetters,
        clock: Clock,
    ) -> None:
        """`start` as a timedelta reads that much of the past first."""
        super().__init__(config, topic, partition, dead_letters=dead_letters)
        self._start = start
        self._on_record = on_record
        self._clock = clock

    def problem(self) -> str | None:
        """Why nothing is being read, or None."""
        return None if self.ready.is_set() else "has not begun to read"

    @override
    async def seek(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> int:
        end: int = (await consumer.end_offsets([tp]))[tp]
        if self._start == "end":
            consumer.seek(tp, end)
            return end
        since = int((self._clock.now() - self._start).timestamp() * 1000)
        found = (await consumer.offsets_for_times({tp: since}))[tp]
        consumer.seek(tp, end if found is None else found.offset)
        return end

    @override
    def apply(self, received: Received) -> None:
        self._on_record(received)
