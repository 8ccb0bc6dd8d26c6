"""Reading one partition without a group: replies addressed to us, and broadcasts.

Rules: the callback runs on the reading path and must only put things where they belong; slow work
here would stall every partition of the broker for up to 100 ms (aiokafka's prefetch back-off).
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.clock import Clock
from shared.errors import PoisonRecord, Unavailable
from shared.events.codec import Received
from shared.events.topic import Topic
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import POLL_SECONDS_MAX, decode_record, open_consumer
from shared.kafka.dead_letters import DeadLetters

_SEEK_SECONDS_MAX: Final = 30.0


class PartitionReader:
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
        self._config = config
        self._topic = topic
        self._partition = partition
        self._start = start
        self._on_record = on_record
        self._dead_letters = dead_letters
        self._clock = clock
        self._problem: str | None = "has not begun to read"
        self.ready = asyncio.Event()

    def problem(self) -> str | None:
        """Why nothing is being read, or None."""
        return self._problem

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`. Raises when the partition does not exist: a wrong ordinal."""
        async with open_consumer(self._config) as consumer:
            tp = TopicPartition(self._topic.name, self._partition)
            consumer.assign([tp])
            try:
                async with asyncio.timeout(_SEEK_SECONDS_MAX):
                    end = await self._seek(consumer, tp)
            except (KafkaError, TimeoutError) as error:
                raise Unavailable("kafka", f"cannot read {self._topic.name}") from error
            while not stop.is_set():
                if not self.ready.is_set() and await consumer.position(tp) >= end:
                    self._problem = None
                    self.ready.set()
                batch = await consumer.getmany(timeout_ms=int(POLL_SECONDS_MAX * 1000))
                for records in batch.values():
                    for record in records:
                        try:
                            received = decode_record(record)
                        except PoisonRecord as error:
                            await self._dead_letters.offer(record, error.reason)
                            continue
                        self._dead_letters.readable()
                        self._on_record(received)

    async def _seek(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> int:
        end: int = (await consumer.end_offsets([tp]))[tp]
        if self._start == "end":
            consumer.seek(tp, end)
            return end
        since = int((self._clock.now() - self._start).timestamp() * 1000)
        found = (await consumer.offsets_for_times({tp: since}))[tp]
        consumer.seek(tp, end if found is None else found.offset)
        return end
