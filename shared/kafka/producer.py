"""Producing: idempotent, acknowledged by all replicas, and never without a deadline.

Large records go through a producer of their own, so that frames never queue behind them. What is
not yet acknowledged is capped: an idempotent producer keeps its batches for ever while the broker
is away, and a send that we gave up on may still arrive (consumers dedupe, requests carry
`start_by`).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from zlib import crc32

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownProducerId,
)

from shared.clock import Clock
from shared.errors import Unavailable
from shared.events import codec
from shared.events.envelope import Event
from shared.events.topic import LARGE_RECORD_BYTES_MAX, Kind, Topic
from shared.events.topics import TOPICS
from shared.ids import InstanceId
from shared.kafka.acknowledgements import Acknowledgements
from shared.kafka.bursts import Bursts
from shared.kafka.config import KafkaConfig
from shared.kafka.record import Record
from shared.kafka.starting import start_whole
from shared.time_limit import TimeLimit

ACKNOWLEDGE_SECONDS_MAX: Final = 5.0
UNACKNOWLEDGED_BYTES_MAX: Final = 128 * 1024 * 1024
_LARGE_FROM_BYTES: Final = 256 * 1024
_STOP_SECONDS_MAX: Final = 5.0
_BATCH_BYTES_MAX: Final = 256 * 1024
_WORK: Final = frozenset(topic.name for topic in TOPICS if topic.kind is Kind.WORK)
_TOO_MUCH: Final = "too much is waiting to be acknowledged"
_DEAD = (OutOfOrderSequenceNumber, ProducerClosed, ProducerFenced, UnknownProducerId)
"""After these an idempotent producer never sends again and must be made anew."""


class EventProducer:
    """Sends events of one instance."""

    def __init__(
        self,
        config: KafkaConfig,
        *,
        source: InstanceId,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        """Describe the producer; `open_producer` starts it."""
        self._bootstrap_servers = config.bootstrap_servers
        self._source = source
        self._clock = clock
        self._new_id = new_id
        self._small: AIOKafkaProducer | None = None
        self._large: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._unacknowledged_bytes = 0
        self._acknowledgements = Acknowledgements(ACKNOWLEDGE_SECONDS_MAX)
        self._bursts: dict[str, Bursts] = {name: Bursts() for name in _WORK}

    def record(
        self,
        topic: Topic,
        event: Event,
        *,
        key: str,
        content: bytes | None = None,
        partition: int | None = None,
        event_id: str | None = None,
        extra_headers: codec.Headers = (),
    ) -> Record:
        """Make an event's record, from this instance and now."""
        return codec.encode(
            topic,
            event,
            key=key,
            event_id=self._new_id() if event_id is None else event_id,
            source=self._source,
            time=self._clock.now(),
            content=content,
            partition=partition,
            extra_headers=extra_headers,
        )

    def emit(
        self,
        topic: Topic,
        event: Event,
        *,
        key: str,
        content: bytes | None = None,
        partition: int | None = None,
        event_id: str | None = None,
        extra_headers: codec.Headers = (),
    ) -> Coroutine[Any, Any, None]:
        """Send an event and wait until it is durable; Unavailable("kafka") after 5 s."""
        record = codec.encode(
            topic,
            event,
            key=key,
            event_id=self._new_id() if event_id is None else event_id,
            source=self._source,
            time=self._clock.now(),
            content=content,
            partition=partition,
            extra_headers=extra_headers,
        )
        return self.send(record)

    async def send(self, record: Record) -> None:
        """Send one record and wait until it is durable.

        Unavailable("kafka") after 5 s, and as long again where it had to wait for room to be sent.
        """
        size = len(record.value or b"")
        if self._unacknowledged_bytes + size > UNACKNOWLEDGED_BYTES_MAX:
            raise Unavailable("kafka", _TOO_MUCH)
        self._unacknowledged_bytes += size
        sent: asyncio.Future[object] | None = None
        try:
            sent = await self._begin(record)
            self._acknowledgements.expect(sent)
            await sent
        except BaseException as error:
            await self._give_up(() if sent is None else (sent,), error)
            raise
        finally:
            self._unacknowledged_bytes -= size

    async def send_many(self, records: Sequence[Record]) -> None:
        """Send records, in order within a partition, and wait until all are durable.

        After Unavailable any of them may or may not arrive.
        """
        size = sum(len(record.value or b"") for record in records)
        if self._unacknowledged_bytes + size > UNACKNOWLEDGED_BYTES_MAX:
            raise Unavailable("kafka", _TOO_MUCH)
        self._unacknowledged_bytes += size
        sent: list[asyncio.Future[object]] = []
        try:
            with TimeLimit(ACKNOWLEDGE_SECONDS_MAX):
                for record in records:
                    sent.append(await self._begin(record))  # noqa: PERF401 - kept if one fails
                for acknowledged in sent:
                    await acknowledged
        except BaseException as error:
            await self._give_up(sent, error)
            raise
        finally:
            self._unacknowledged_bytes -= size

    def _begin(self, record: Record) -> "Awaitable[asyncio.Future[object]]":
        """Hand a record to its producer; what it returns ends once the record is durable."""
        is_large = record.value is not None and len(record.value) > _LARGE_FROM_BYTES
        producer = self._large if is_large else self._small
        # left to choose, the client would look at every partition for each record
        known = producer and producer.client.cluster.partitions_for_topic(record.topic)
        if producer is None or not known:
            return self._begin_anew(record, is_large=is_large)
        partition = record.partition
        if partition is None:
            partition = self._partition_of(record, len(known))
        sending: Awaitable[asyncio.Future[object]] = producer.send(
            record.topic,
            value=record.value,
            key=record.key,
            partition=partition,
            headers=record.headers,
        )
        return sending

    async def _begin_anew(self, record: Record, *, is_large: bool) -> "asyncio.Future[object]":
        with TimeLimit(ACKNOWLEDGE_SECONDS_MAX):
            producer = await self._open(large=is_large)
            await producer.partitions_for(record.topic)
            return await self._begin(record)

    def _partition_of(self, record: Record, partitions: int) -> int:
        bursts = self._bursts.get(record.topic)
        if bursts is None:
            return partition_by_key(record.key, partitions)
        return bursts.partition(partitions, now=self._clock.monotonic())

    async def _give_up(
        self, sent: "Sequence[asyncio.Future[object]]", error: BaseException
    ) -> None:
        """Leave what may still be acknowledged; raises Unavailable where Kafka is what failed."""
        for future in sent:
            if not future.done():
                future.add_done_callback(_observe)
        if isinstance(error, TimeoutError):
            raise Unavailable("kafka", "not acknowledged in time") from None
        if isinstance(error, _DEAD):
            await self._discard_dead()
        if isinstance(error, KafkaError):
            raise Unavailable("kafka", type(error).__name__) from error

    async def _open(self, *, large: bool) -> AIOKafkaProducer:
        made = self._large if large else self._small
        if made is not None:
            return made
        async with self._starting:
            known = self._large if large else self._small
            if known is not None:
                return known
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                enable_idempotence=True,
                acks="all",
                linger_ms=0,
                max_batch_size=_BATCH_BYTES_MAX,
                max_request_size=LARGE_RECORD_BYTES_MAX,
                request_timeout_ms=int(ACKNOWLEDGE_SECONDS_MAX * 1000),
            )
            try:
                await start_whole(producer.start())
            except BaseException:
                await _stop(producer)
                raise
            if large:
                self._large = producer
            else:
                self._small = producer
            return producer

    async def _discard_dead(self) -> None:
        small, large = self._small, self._large
        self._small = self._large = None
        for producer in (small, large):
            if producer is not None:
                await _stop(producer)

    async def start(self) -> None:
        """Connect; raises Unavailable("kafka") when no broker answers in time."""
        try:
            async with asyncio.timeout(ACKNOWLEDGE_SECONDS_MAX * 4):
                await self._open(large=False)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable("kafka", type(error).__name__) from error

    async def stop(self) -> None:
        """Flush with a deadline and disconnect."""
        await self._discard_dead()


def partition_by_key(key: bytes | None, partitions: int) -> int:
    """The partition of a key: CRC-32, as librdkafka's consistent partitioner has it.

    aiokafka's own murmur2 is pure Python and costs more than making the record. All that matters is
    that every producer of a topic agrees, and all of them are this one.
    """
    return crc32(key or b"") % partitions


def _observe(future: "asyncio.Future[object]") -> None:
    # nobody waits for it any more: look at its error, or asyncio reports it as never retrieved
    if not future.cancelled():
        future.exception()


async def _stop(producer: AIOKafkaProducer) -> None:
    # with the broker away aiokafka's own stop() waits for ever (aiokafka#1101)
    try:
        async with asyncio.timeout(_STOP_SECONDS_MAX):
            await producer.stop()
    except (KafkaError, TimeoutError):
        return


@asynccontextmanager
async def open_producer(
    config: KafkaConfig, *, source: InstanceId, clock: Clock, new_id: Callable[[], str]
) -> AsyncGenerator[EventProducer]:
    """A started producer, stopped at the end."""
    producer = EventProducer(config, source=source, clock=clock, new_id=new_id)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
