"""Health of credentials, told to the other dispatchers and heard from them."""

from services.dispatcher.domain.health import HealthTable
from shared.errors import Unavailable
from shared.events.codec import Received
from shared.events.routing import HealthChanged
from shared.events.topics import ROUTING_HEALTH
from shared.ids import InstanceId
from shared.kafka.producer import EventProducer
from shared.tasks import TaskScope


class KafkaHealth:
    """Both directions of `routing.health`."""

    def __init__(
        self,
        producer: EventProducer,
        table: HealthTable,
        *,
        instance: InstanceId,
        scope: TaskScope,
    ) -> None:
        """What comes from `instance`, ourselves, is known already."""
        self._producer = producer
        self._table = table
        self._instance = instance
        self._scope = scope

    def tell(self, change: HealthChanged) -> None:
        """Send a change in the background."""
        self._scope.start(self._send(change), name="health")

    def on_record(self, received: Received) -> None:
        """Take in a change that another dispatcher saw."""
        if isinstance(received.event, HealthChanged) and received.envelope.source != self._instance:
            self._table.heard(received.event)

    async def _send(self, change: HealthChanged) -> None:
        try:
            await self._producer.emit(ROUTING_HEALTH, change, key=change.credential_id)
        except Unavailable:
            return  # the others will see for themselves
