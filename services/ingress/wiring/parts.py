"""What the process and its pages are built from."""

from collections.abc import Callable
from dataclasses import dataclass

from services.ingress.config import IngressConfig
from services.ingress.outbound.kafka_announcements import KafkaAnnouncements
from services.ingress.outbound.kafka_views import ViewedBalances, ViewedCatalog
from services.ingress.outbound.postgres_api_keys import PostgresApiKeys
from services.ingress.outbound.vault_wire_keys import VaultWireKeys
from services.ingress.use_cases.known_callers import KnownCallers
from services.ingress.use_cases.waiting import WaitingGenerations
from shared.clock import Clock
from shared.ids import InstanceId
from shared.kafka.calls import Calls
from shared.kafka.producer import EventProducer
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import Pool
from shared.tasks import TaskScope
from shared.telemetry.metrics import Metrics
from shared.vault.transit import Transit


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The settings, and the connections that they opened."""

    config: IngressConfig
    instance: InstanceId
    pool: Pool
    transit: Transit
    wire_keys: VaultWireKeys
    producer: EventProducer
    lookups: TaskScope
    metrics: Metrics
    clock: Clock
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What pages use and the process keeps going."""

    announcements: KafkaAnnouncements
    waiting: WaitingGenerations
    calls: Calls
    books: PostgresApiKeys
    callers: KnownCallers
    catalog: ViewedCatalog
    balances: ViewedBalances
    outbox: OutboxRelay
