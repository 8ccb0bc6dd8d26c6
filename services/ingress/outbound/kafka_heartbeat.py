"""IngressAlive, once a second."""

import asyncio
import contextlib
from typing import Final

from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.completions import IngressAlive
from shared.events.topics import INFERENCE_CANCELLATIONS
from shared.ids import InstanceId
from shared.kafka.producer import EventProducer

PERIOD_SECONDS: Final = 1.0


class KafkaHeartbeat:
    """Tells dispatchers, and ourselves, that we live."""

    def __init__(
        self, producer: EventProducer, *, instance_id: InstanceId, ordinal: int, clock: Clock
    ) -> None:
        """Use a started producer."""
        self._producer = producer
        self._instance_id = instance_id
        self._ordinal = ordinal
        self._clock = clock

    async def run(self) -> None:
        """Beat until cancelled; a beat that Kafka does not take is not made up for."""
        while True:
            with contextlib.suppress(Unavailable):
                await self._producer.emit(
                    INFERENCE_CANCELLATIONS,
                    IngressAlive(
                        instance_id=self._instance_id,
                        ordinal=self._ordinal,
                        sent_at=self._clock.now(),
                    ),
                    key=self._instance_id,
                )
            await asyncio.sleep(PERIOD_SECONDS)
