"""Producing CompletionRequested."""

from collections.abc import Coroutine
from typing import Any

from typing_extensions import override

from services.ingress.ports import Requests
from shared.events.completions import CompletionRequested
from shared.events.topics import INFERENCE_REQUESTS
from shared.kafka.producer import EventProducer


class KafkaRequests(Requests):
    """Requests go to their topic, keyed by generation."""

    def __init__(self, producer: EventProducer) -> None:
        """Use a started producer."""
        self._producer = producer

    @override
    def emit(self, event: CompletionRequested, sealed_body: bytes) -> Coroutine[Any, Any, None]:
        return self._producer.emit(
            INFERENCE_REQUESTS,
            event,
            key=event.generation_id,
            content=sealed_body,
            event_id=event.generation_id,
        )
