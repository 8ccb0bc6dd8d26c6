"""`credentials.observations`: what checks found, and once a second how credentials fare in use."""

import asyncio
from typing import Final

from services.dispatcher.domain.health import HealthTable
from services.dispatcher.domain.observations import Observations, observed
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.credential_health import CredentialChecked
from shared.events.topics import CREDENTIALS_OBSERVATIONS
from shared.kafka.producer import EventProducer

TELL_SECONDS: Final = 1.0


class KafkaObservations:
    """Tells; `run` tells what was gathered."""

    def __init__(
        self,
        producer: EventProducer,
        observations: Observations,
        health: HealthTable,
        *,
        clock: Clock,
    ) -> None:
        """What `observations` gathers goes out with the health of those credentials."""
        self._producer = producer
        self._observations = observations
        self._health = health
        self._clock = clock

    async def checked(self, result: CredentialChecked) -> None:
        """Tell the result of a check; Unavailable("kafka")."""
        await self._producer.emit(CREDENTIALS_OBSERVATIONS, result, key=result.account_id)

    async def run(self) -> None:
        """Tell once a second, until cancelled."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self.tell_gathered()

    async def tell_gathered(self) -> None:
        """One record for each account with news; without Kafka they wait for the next time."""
        taken = self._observations.take()
        if not taken:
            return
        now = self._clock.now()
        events = observed(
            taken,
            lambda account_id, credential_id: self._health.resting_until(
                account_id, credential_id, now
            ),
            now,
        )
        try:
            await self._producer.send_many(
                [
                    self._producer.record(CREDENTIALS_OBSERVATIONS, event, key=event.account_id)
                    for event in events
                ]
            )
        except Unavailable:
            self._observations.put_back(taken)
