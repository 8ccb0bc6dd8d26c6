"""Bringing the topic `catalog.models` to what the folder says: new states, and tombstones."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.errors import PoisonRecord, Unavailable
from shared.events.catalog import ModelListed
from shared.events.topics import CATALOG_MODELS
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import POLL_SECONDS_MAX, decode_record, open_consumer
from shared.kafka.producer import EventProducer
from shared.kafka.record import Record

_READ_SECONDS_MAX = 30.0
_PARTITION = TopicPartition(CATALOG_MODELS.name, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs between the topic and the folder."""

    listed: tuple[ModelListed, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]


def changes_between(
    published: Mapping[str, ModelListed | None], wanted: Sequence[ModelListed]
) -> Changes:
    """Work out what to send. `published` holds None for a key whose record cannot be read.

    A model that is sent again gets a version above the one that stands there.
    """
    listed: list[ModelListed] = []
    unchanged: list[str] = []
    for model in wanted:
        known = published.get(model.slug)
        if known is None:
            listed.append(model)
        elif msgspec.structs.replace(model, version=known.version) == known:
            unchanged.append(model.slug)
        else:
            version = max(model.version, known.version + 1)
            listed.append(msgspec.structs.replace(model, version=version))
    removed = published.keys() - {model.slug for model in wanted}
    return Changes(listed=tuple(listed), removed=tuple(sorted(removed)), unchanged=tuple(unchanged))


async def read_published(config: KafkaConfig) -> dict[str, ModelListed | None]:
    """The models on the topic now. Raises Unavailable("kafka")."""
    published: dict[str, ModelListed | None] = {}
    try:
        async with asyncio.timeout(_READ_SECONDS_MAX), open_consumer(config) as consumer:
            consumer.assign([_PARTITION])
            await consumer.seek_to_beginning(_PARTITION)
            end = (await consumer.end_offsets([_PARTITION]))[_PARTITION]
            while await consumer.position(_PARTITION) < end:
                await _take(consumer, published)
    except (KafkaError, TimeoutError) as error:
        raise Unavailable("kafka", f"cannot read {CATALOG_MODELS.name}") from error
    return published


async def _take(consumer: AIOKafkaConsumer, published: dict[str, ModelListed | None]) -> None:
    batch = await consumer.getmany(timeout_ms=int(POLL_SECONDS_MAX * 1000))
    for record in batch.get(_PARTITION, ()):
        key = (record.key or b"").decode("utf-8", "replace")
        if record.value is None:
            published.pop(key, None)
            continue
        try:
            event = decode_record(record).event
        except PoisonRecord:
            event = None
        published[key] = event if isinstance(event, ModelListed) else None


async def publish(producer: EventProducer, changes: Changes) -> None:
    """Send the changes and wait until they are durable. Raises Unavailable("kafka")."""
    records = [producer.record(CATALOG_MODELS, model, key=model.slug) for model in changes.listed]
    records += [
        Record(topic=CATALOG_MODELS.name, key=slug.encode(), value=None) for slug in changes.removed
    ]
    if records:
        await producer.send_many(records)
