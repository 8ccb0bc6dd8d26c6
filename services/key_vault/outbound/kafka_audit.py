"""The audit on `credentials.audit`, for reading all of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.errors import PoisonRecord, Unavailable
from shared.events.credential_audit import CredentialAudited
from shared.events.topics import CREDENTIALS_AUDIT
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import POLL_SECONDS_MAX, decode_record, open_consumer

_SEEK_SECONDS_MAX: Final = 30.0
_SILENT_SECONDS_MAX: Final = 30.0
_RECORDS_AT_ONCE: Final = 500


class KafkaAudit:
    """The port PublishedAudit."""

    def __init__(self, config: KafkaConfig) -> None:
        """Each reading has a consumer of its own, without a group."""
        self._config = config

    async def batches(self) -> AsyncIterator[Sequence[CredentialAudited]]:
        """What stood on the topic when the reading began, as far as it is still kept."""
        async with open_consumer(self._config) as consumer:
            try:
                async with asyncio.timeout(_SEEK_SECONDS_MAX):
                    ends = await _seek(consumer)
                while ends:
                    async with asyncio.timeout(_SILENT_SECONDS_MAX):
                        batch = await _next(consumer, ends)
                    if batch:
                        yield batch
            except (KafkaError, TimeoutError) as error:
                raise Unavailable("kafka", f"cannot read {CREDENTIALS_AUDIT.name}") from error


async def _seek(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Go to the beginning; gives where reading may end, of partitions that hold anything."""
    partitions = [
        TopicPartition(CREDENTIALS_AUDIT.name, number)
        for number in range(CREDENTIALS_AUDIT.partitions)
    ]
    consumer.assign(partitions)
    begins = await consumer.beginning_offsets(partitions)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    for each in partitions:
        consumer.seek(each, begins[each])
    return {each: end for each, end in ends.items() if end > begins[each]}


async def _next(
    consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]
) -> Sequence[CredentialAudited]:
    """The next entries; takes partitions that are read to their end out of `ends`."""
    while True:
        got = await consumer.getmany(
            timeout_ms=int(POLL_SECONDS_MAX * 1000), max_records=_RECORDS_AT_ONCE
        )
        entries: list[CredentialAudited] = []
        for records in got.values():
            for record in records:
                try:
                    event = decode_record(record).event
                except PoisonRecord:
                    continue  # not ours: what we publish can be read
                if isinstance(event, CredentialAudited):
                    entries.append(event)
        for partition in [*ends]:
            if await consumer.position(partition) >= ends[partition]:
                del ends[partition]
        if entries or not ends:
            return entries
