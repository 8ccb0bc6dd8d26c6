"""Facts about generations, made durable."""

from shared.events.generations import GenerationAbandoned, GenerationFinished
from shared.events.routing import FallbackDecided
from shared.events.topics import INFERENCE_GENERATIONS, ROUTING_FALLBACKS
from shared.kafka.producer import EventProducer


class KafkaFacts:
    """Emits facts, keyed by account; each raises Unavailable("kafka") after 5 s."""

    def __init__(self, producer: EventProducer) -> None:
        """Send with `producer`."""
        self._producer = producer

    async def finished(self, fact: GenerationFinished) -> None:
        """A run ended."""
        await self._producer.emit(INFERENCE_GENERATIONS, fact, key=fact.account_id)

    async def abandoned(self, fact: GenerationAbandoned) -> None:
        """Nothing of a generation may be charged; behind its finished fact, if that still comes."""
        await self._producer.emit(INFERENCE_GENERATIONS, fact, key=fact.account_id)

    async def fell_back(self, fact: FallbackDecided) -> None:
        """The next attempt of a plan is tried."""
        await self._producer.emit(ROUTING_FALLBACKS, fact, key=fact.account_id)
