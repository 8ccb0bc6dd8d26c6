"""Setting Kafka up from the topics table. Safe to run again and beside itself."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from shared.errors import Unavailable
from shared.events.topic import Topic
from shared.events.topics import TOPICS

_SECONDS_MAX: Final = 60.0
_POLL_SECONDS: Final = 0.1


async def ensure_topics(
    bootstrap_servers: str, *, partitions_max: int | None = None, replication: int = 1
) -> list[str]:
    """Create missing topics, set the settings of all, add missing partitions; the names created.

    `partitions_max` caps the table's numbers where one machine plays the whole cluster. Raises
    Unavailable("kafka").
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            await admin.start()
            return await _apply(admin, partitions_max, replication)
    except (KafkaError, TimeoutError) as error:
        raise Unavailable("kafka", f"{type(error).__name__}: {error}") from error
    finally:
        await admin.close()


async def partition_counts(bootstrap_servers: str, names: Sequence[str]) -> dict[str, int]:
    """How many partitions each topic has. Raises Unavailable("kafka"), LookupError for no topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            await admin.start()
            counts = _counts(await admin.describe_topics(list(names)))
    except (KafkaError, TimeoutError) as error:
        raise Unavailable("kafka", f"{type(error).__name__}: {error}") from error
    finally:
        await admin.close()
    for name in names:
        if not counts.get(name):
            raise LookupError(f"there is no topic {name}")
    return counts


def _counts(described: Sequence[Any]) -> dict[str, int]:
    return {found["topic"]: len(found["partitions"]) for found in described}


def _partitions(topic: Topic, partitions_max: int | None) -> int:
    return topic.partitions if partitions_max is None else min(topic.partitions, partitions_max)


async def _apply(
    admin: AIOKafkaAdminClient, partitions_max: int | None, replication: int
) -> list[str]:
    existing = set(await admin.list_topics())
    missing = [topic for topic in TOPICS if topic.name not in existing]
    if missing:
        response = await admin.create_topics(
            [
                NewTopic(
                    name=topic.name,
                    num_partitions=_partitions(topic, partitions_max),
                    replication_factor=replication,
                    topic_configs=topic.configuration(),
                )
                for topic in missing
            ]
        )
        for name, code, *_ in response.topic_errors:
            if code not in {0, TopicAlreadyExistsError.errno}:
                raise for_code(code)(name)
        await _until_led(admin, [topic.name for topic in missing])
    kept = [topic for topic in TOPICS if topic.name in existing]
    if kept:
        await _bring_up_to_date(admin, kept, partitions_max)
    return [topic.name for topic in missing]


async def _until_led(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    """Wait until each partition has a leader: clients that come sooner stumble over it."""
    while True:
        described = await admin.describe_topics(names)
        if all(
            found["error_code"] == 0
            and all(partition["leader"] >= 0 for partition in found["partitions"])
            for found in described
        ):
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _bring_up_to_date(
    admin: AIOKafkaAdminClient, topics: list[Topic], partitions_max: int | None
) -> None:
    await admin.alter_configs(
        [
            ConfigResource(ConfigResourceType.TOPIC, topic.name, topic.configuration())
            for topic in topics
        ]
    )
    counts = _counts(await admin.describe_topics([topic.name for topic in topics]))
    wanted = {topic.name: _partitions(topic, partitions_max) for topic in topics}
    more = {
        name: NewPartitions(total_count=count)
        for name, count in wanted.items()
        if counts[name] < count
    }
    if more:
        await admin.create_partitions(more)
