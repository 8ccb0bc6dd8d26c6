"""Facts about generations, made durable."""

from collections.abc import Coroutine
from typing import Any

from shared.errors import Unavailable
from shared.events.generations import GenerationAbandoned, GenerationFinished
from shared.events.routing import FallbackDecided
from shared.events.topics import INFERENCE_GENERATIONS, ROUTING_FALLBACKS
from shared.kafka.producer import EventProducer
from shared.telemetry.logging import get_logger


class KafkaFacts:
    """Emits facts, keyed by account; each raises Unavailable("kafka") after 5 s."""

    def __init__(self, producer: EventProducer) -> None:
        """Send with `producer`."""
        self._producer = producer
        self._logger = get_logger("facts")

    def finished(self, fact: GenerationFinished) -> Coroutine[Any, Any, None]:
        """A run ended, which it does once: its id is the event's."""
        return self._producer.emit(
            INFERENCE_GENERATIONS, fact, key=fact.account_id, event_id=fact.run_id
        )

    async def abandoned(self, fact: GenerationAbandoned) -> None:
        """Nothing of a generation may be charged; behind its finished fact, if that still comes."""
        await self._producer.emit(INFERENCE_GENERATIONS, fact, key=fact.account_id)

    async def fell_back(self, fact: FallbackDecided) -> None:
        """The next attempt of a plan is tried; one that is lost leaves a line in the log."""
        try:
            await self._producer.emit(ROUTING_FALLBACKS, fact, key=fact.account_id)
        except Unavailable:
            self._logger.warning(
                "fallback not told", generation_id=fact.generation_id, reason=fact.reason
            )
            raise
