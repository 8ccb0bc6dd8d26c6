"""What all ways to consume share: the client's settings, and reading a record."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from shared.errors import Unavailable
from shared.events import codec
from shared.events.topic import LARGE_RECORD_BYTES_MAX
from shared.kafka.config import KafkaConfig
from shared.kafka.starting import start_whole

POLL_SECONDS_MAX: Final = 0.5
_START_SECONDS_MAX: Final = 30.0
_STOP_SECONDS_MAX: Final = 8.0
_COMMIT_SECONDS_MAX: Final = 5.0
_SESSION_TIMEOUT_MS: Final = 6_000
"""How long a killed member's partitions stand still (design.md section 8)."""
_HEARTBEAT_MS: Final = 1_500
_FETCH_BYTES_MAX: Final = 32 * 1024 * 1024
_GATHERED_BYTES_MAX: Final = 512 * 1024
"""A fetch that gathers is answered at once when this much is there."""


@asynccontextmanager
async def open_consumer(
    config: KafkaConfig,
    *topics: str,
    group: str | None = None,
    start: str = "earliest",
    partition_bytes_max: int = LARGE_RECORD_BYTES_MAX,
    gather_seconds: float | None = None,
    wait_seconds: float = POLL_SECONDS_MAX,
) -> AsyncGenerator[AIOKafkaConsumer]:
    """A started consumer that never commits by itself, stopped (and out of its group) at the end.

    Without `gather_seconds` the broker answers a fetch as soon as there is one record, and after
    `wait_seconds` without one; with it, it waits that long for more.
    """
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=config.bootstrap_servers,
        group_id=group,
        auto_offset_reset=start,
        enable_auto_commit=False,
        session_timeout_ms=_SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=_HEARTBEAT_MS,
        fetch_max_bytes=_FETCH_BYTES_MAX,
        max_partition_fetch_bytes=partition_bytes_max,
        fetch_min_bytes=1 if gather_seconds is None else _GATHERED_BYTES_MAX,
        fetch_max_wait_ms=int((gather_seconds or wait_seconds) * 1000),
    )
    try:
        try:
            async with asyncio.timeout(_START_SECONDS_MAX):
                await start_whole(consumer.start())
        except (KafkaError, TimeoutError) as error:
            raise Unavailable("kafka", type(error).__name__) from error
        yield consumer
    finally:
        await _stop(consumer)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(_STOP_SECONDS_MAX):
            await consumer.stop()
    except (KafkaError, TimeoutError):
        return


def decode_record(record: Any) -> codec.Received:
    """Read a ConsumerRecord; raises PoisonRecord."""
    return codec.decode(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


async def commit_quietly(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
    """Commit after the effect; a commit that fails only means the records come again.

    Handlers are idempotent, so a partition that meanwhile moved to another member, or a broker that
    is away, costs a repetition and nothing else.
    """
    try:
        async with asyncio.timeout(_COMMIT_SECONDS_MAX):
            await consumer.commit(offsets)
    except (CommitFailedError, IllegalStateError, TimeoutError):
        return
    except KafkaError as error:
        if not error.retriable:
            raise


class Intake:
    """Takes records off the client as they come, so that whoever handles them may take its time.

    While any partition of a broker holds records that nobody has taken, aiokafka does not poll that
    broker, for up to 100 ms; and a poll that began without a partition is not told of its news for
    `fetch_max_wait_ms`. A handler that is busy for a few milliseconds would cost the calls behind it
    many. Bounded: beyond RECORDS_MAX it does stop taking.
    """

    RECORDS_MAX: Final = 2_000

    def __init__(self, consumer: AIOKafkaConsumer, *, gather_seconds: float = 0.0) -> None:
        """`fill` must run beside whoever takes; after each look it lets `gather_seconds` pass."""
        self._consumer = consumer
        self._gather_seconds = gather_seconds
        self._records: deque[Any] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    async def fill(self) -> None:
        """Take records off the client, until cancelled."""
        while True:
            batch = await self._consumer.getmany(timeout_ms=int(POLL_SECONDS_MAX * 1000))
            for records in batch.values():
                self._records.extend(records)
            if batch:
                self._arrived.set()
                if self._gather_seconds:
                    await asyncio.sleep(self._gather_seconds)
            while len(self._records) >= self.RECORDS_MAX:
                self._room.clear()
                await self._room.wait()

    async def take(self, records_max: int) -> list[Any]:
        """What has come, in order within each partition; nothing when nothing came for a while."""
        if not self._records:
            self._arrived.clear()
            try:
                async with asyncio.timeout(POLL_SECONDS_MAX):
                    await self._arrived.wait()
            except TimeoutError:
                return []
        taken = [self._records.popleft() for _ in range(min(records_max, len(self._records)))]
        self._room.set()
        return taken


def offsets_after(records: Iterable[Any]) -> dict[TopicPartition, int]:
    """The offsets to commit once these records have had their effect."""
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}
