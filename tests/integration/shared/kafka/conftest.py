"""One process's worth of Kafka clients against the real broker."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.clock import SystemClock
from shared.ids import new_id, new_instance_id
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import EventProducer, open_producer
from shared.tasks import TaskScope
from tests.conftest import Infrastructure


@dataclass(slots=True)
class Clients:
    """A producer, dead letters, and a scope whose tasks are stopped at the end of the test."""

    config: KafkaConfig
    producer: EventProducer
    scope: TaskScope
    clock: SystemClock = field(default_factory=SystemClock)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def dead_letters(self, consumer: str) -> DeadLetters:
        return DeadLetters(self.producer, consumer=consumer, clock=self.clock)

    def run(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        return self.scope.start(work, name="under test")


@pytest.fixture
async def clients(infrastructure: Infrastructure) -> AsyncIterator[Clients]:
    config = KafkaConfig(bootstrap_servers=infrastructure.kafka)
    async with (
        open_producer(
            config, source=new_instance_id("test", 0), clock=SystemClock(), new_id=new_id
        ) as producer,
        TaskScope() as scope,
    ):
        clients = Clients(config=config, producer=producer, scope=scope)
        yield clients
        clients.stop.set()
        assert await scope.drain(deadline_seconds=15), "a consumer did not stop when told"
        assert scope.failure is None, f"a consumer failed: {scope.failure!r}"
