"""`inference.generations` as far as Kafka still keeps it, read beside the consumers of billing."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.billing.domain.receipt import Span
from shared.errors import PoisonRecord, Unavailable
from shared.events.codec import Received
from shared.events.topic import SMALL_RECORD_BYTES_MAX
from shared.events.topics import INFERENCE_GENERATIONS
from shared.kafka.admin import partition_counts
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import POLL_SECONDS_MAX, decode_record, open_consumer

_SEEK_SECONDS_MAX: Final = 30.0
_SILENT_SECONDS_MAX: Final = 30.0
_RECORDS_AT_ONCE: Final = 500


class KafkaHistory:
    """The port History."""

    def __init__(self, config: KafkaConfig, *, group: str) -> None:
        """`group` is that of billing's facts: how far it has come tells what is booked."""
        self._config = config
        self._group = group

    async def spans(self, since: datetime | None) -> dict[int, Span]:
        """By partition, what billing has booked of it since a moment; None is from the beginning."""
        counts = await partition_counts(
            self._config.bootstrap_servers, [INFERENCE_GENERATIONS.name]
        )
        partitions = _partitions(range(counts[INFERENCE_GENERATIONS.name]))
        # in the group, yet without joining it: only to ask what was committed
        async with open_consumer(self._config, group=self._group) as consumer:
            try:
                async with asyncio.timeout(_SEEK_SECONDS_MAX):
                    consumer.assign(partitions)
                    ends = {each: await consumer.committed(each) or 0 for each in partitions}
                    begins = await _begins(consumer, partitions, since, ends)
            except (KafkaError, TimeoutError) as error:
                raise _unreadable() from error
        return {
            each.partition: Span(begins[each], max(begins[each], ends[each])) for each in partitions
        }

    async def batches(self, spans: Mapping[int, Span]) -> AsyncIterator[Sequence[Received]]:
        """What stands in the spans, in order within each partition; unreadable records left out."""
        ends = {
            TopicPartition(INFERENCE_GENERATIONS.name, number): span.end
            for number, span in spans.items()
            if span.end > span.first
        }
        if not ends:
            return
        async with open_consumer(
            self._config, partition_bytes_max=SMALL_RECORD_BYTES_MAX
        ) as consumer:
            try:
                consumer.assign(list(ends))
                for each in ends:
                    consumer.seek(each, spans[each.partition].first)
                while ends:
                    async with asyncio.timeout(_SILENT_SECONDS_MAX):
                        batch = await _next(consumer, ends)
                    if batch:
                        yield batch
            except (KafkaError, TimeoutError) as error:
                raise _unreadable() from error


def _partitions(numbers: Sequence[int]) -> list[TopicPartition]:
    return [TopicPartition(INFERENCE_GENERATIONS.name, number) for number in numbers]


async def _begins(
    consumer: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    since: datetime | None,
    ends: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int]:
    begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
    if since is None:
        return begins
    milliseconds = int(since.timestamp() * 1000)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds))
    # nothing since then: what is booked ends before it
    return {
        each: max(begins[each], ends[each] if found[each] is None else found[each].offset)
        for each in partitions
    }


async def _next(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> Sequence[Received]:
    """The next records; takes partitions that are read to their end out of `ends`."""
    while True:
        got = await consumer.getmany(
            *ends, timeout_ms=int(POLL_SECONDS_MAX * 1000), max_records=_RECORDS_AT_ONCE
        )
        batch: list[Received] = []
        for partition, records in got.items():
            for record in records:
                if record.offset >= ends[partition]:
                    continue
                try:
                    batch.append(decode_record(record))
                except PoisonRecord:
                    continue  # it went to the dead letters and was not booked
        for each in [*ends]:
            if await consumer.position(each) >= ends[each]:
                del ends[each]
        if batch or not ends:
            return batch


def _unreadable() -> Unavailable:
    return Unavailable("kafka", f"cannot read {INFERENCE_GENERATIONS.name}")
