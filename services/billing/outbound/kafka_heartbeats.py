"""Billing's heartbeats, on the topic whose readers want to know that it is being written."""

from shared.clock import Clock
from shared.events.billing import BillingHeartbeat
from shared.events.topics import BILLING_ACCOUNTS
from shared.ids import InstanceId
from shared.kafka.producer import EventProducer


class KafkaHeartbeats:
    """One key for each ordinal, so that compaction keeps few."""

    def __init__(
        self, producer: EventProducer, clock: Clock, *, instance: InstanceId, ordinal: int
    ) -> None:
        """`instance` is this run of process `ordinal`."""
        self._producer = producer
        self._clock = clock
        self._instance = instance
        self._key = f"heartbeat/billing-{ordinal}"

    async def send(self, lag_seconds: float) -> None:
        """Send one. Raises Unavailable("kafka")."""
        heartbeat = BillingHeartbeat(
            instance_id=self._instance, sent_at=self._clock.now(), lag_seconds=lag_seconds
        )
        await self._producer.emit(BILLING_ACCOUNTS, heartbeat, key=self._key)
