"""Telling the ingresses that wait which generations we hold, and hearing ourselves on the way."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from shared.errors import Unavailable
from shared.events.completions import DispatcherAlive
from shared.events.topics import INFERENCE_CANCELLATIONS, INGRESS_REPLIES
from shared.ids import GenerationId, InstanceId
from shared.kafka.producer import EventProducer
from shared.kafka.record import Record

ANNOUNCE_SECONDS: Final = 1.0

Held = Callable[[], Mapping[int, list[GenerationId]]]
"""The generations held here, by the reply partition of the ingress that waits for them."""


class KafkaLiveness:
    """Announces once a second."""

    def __init__(self, producer: EventProducer, held: Held, *, instance: InstanceId) -> None:
        """What `held` says at the moment is told to whom it is for."""
        self._producer = producer
        self._held = held
        self._instance = instance

    async def run(self) -> None:
        """Announce until cancelled; what a broker that is away misses is not sent later."""
        while True:
            with contextlib.suppress(Unavailable):
                await self._producer.send_many(self.announcements())
            await asyncio.sleep(ANNOUNCE_SECONDS)

    def announcements(self) -> list[Record]:
        """One for each reply partition that waits, and one that comes back to ourselves.

        Ours is a broadcast beside those of the ingresses: while it comes back, their silence is
        theirs and not our reader's.
        """
        records = [
            self._producer.record(
                INGRESS_REPLIES,
                DispatcherAlive(instance_id=self._instance, generation_ids=generation_ids),
                key=self._instance,
                partition=partition,
            )
            for partition, generation_ids in self._held().items()
        ]
        records.append(
            self._producer.record(
                INFERENCE_CANCELLATIONS,
                DispatcherAlive(instance_id=self._instance, generation_ids=[]),
                key=self._instance,
            )
        )
        return records
