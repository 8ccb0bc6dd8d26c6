"""Reading topics as anyone may: every event of some topics from now on, kept in the order read."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.errors import PoisonRecord
from shared.events.codec import Received
from shared.events.topic import Topic
from shared.kafka.admin import partition_counts
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import decode_record, open_consumer
from shared.tasks import TaskScope

_POLL_MS: Final = 100
_START_SECONDS_MAX: Final = 30.0


class Tap:
    """What has come by so far."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.seen: list[Received] = []
        self._more = asyncio.Event()

    def add(self, received: Received) -> None:
        """Keep one event and wake who waits."""
        self.seen.append(received)
        self._more.set()

    async def wait_for(
        self, wanted: Callable[[Received], bool], *, deadline_seconds: float = 10.0
    ) -> Received:
        """The first event, past or to come, that is wanted; TimeoutError at the deadline."""
        looked_at = 0
        async with asyncio.timeout(deadline_seconds):
            while True:
                self._more.clear()
                for received in self.seen[looked_at:]:
                    looked_at += 1
                    if wanted(received):
                        return received
                await self._more.wait()


@asynccontextmanager
async def tap(config: KafkaConfig, topics: Sequence[Topic]) -> AsyncGenerator[Tap]:
    """Listen to topics without a group; what is sent after entering is surely seen."""
    found = Tap()
    counts = await partition_counts(config.bootstrap_servers, [topic.name for topic in topics])
    async with open_consumer(config) as consumer, TaskScope() as scope:
        async with asyncio.timeout(_START_SECONDS_MAX):
            partitions = [
                TopicPartition(name, partition)
                for name, count in counts.items()
                for partition in range(count)
            ]
            consumer.assign(partitions)
            for tp, end in (await consumer.end_offsets(partitions)).items():
                consumer.seek(tp, end)
        scope.start(_follow(consumer, found), name="tap")
        yield found


async def _follow(consumer: AIOKafkaConsumer, found: Tap) -> None:
    while True:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                if record.value is None:
                    continue
                try:
                    found.add(decode_record(record))
                except PoisonRecord:
                    continue
