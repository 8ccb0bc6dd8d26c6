"""How key_vault is put together, outermost first."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from services.key_vault.config import KeyVaultConfig
from services.key_vault.domain.egress import egress_allowed
from services.key_vault.inbound.kafka_commands import CommandsHandler
from services.key_vault.inbound.upkeep import Chores, Upkeep
from services.key_vault.outbound.catalog_view import CatalogView
from services.key_vault.outbound.kafka_audit import KafkaAudit
from services.key_vault.outbound.kafka_state import CredentialsState, StatePublisher
from services.key_vault.outbound.postgres_audit import PostgresAudit
from services.key_vault.outbound.postgres_ciphertexts import PostgresCiphertexts
from services.key_vault.outbound.postgres_credentials import PostgresCredentials
from services.key_vault.outbound.postgres_health import PostgresHealth
from services.key_vault.outbound.postgres_upkeep import (
    bury_removed,
    forget_commands,
    forget_facts,
)
from services.key_vault.outbound.vault_encryption import VaultEncryption, VaultRewrapping
from services.key_vault.ports import AuditChains, Ports, PublishedAudit, RewrapPorts
from services.key_vault.use_cases.rewrap_credentials import Rewrapped, rewrap_credentials
from services.key_vault.use_cases.take_in_facts import TakeInFacts
from shared.clock import Clock, SystemClock
from shared.events.topics import BILLING_FEES, CREDENTIALS_COMMANDS, CREDENTIALS_OBSERVATIONS
from shared.http.health import Readiness, health_app
from shared.http.server import serve
from shared.ids import new_id, new_instance_id
from shared.kafka.calls import CallServer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.facts import FactsConsumer
from shared.kafka.producer import open_producer
from shared.kafka.view import View
from shared.postgres.dirty_keys import one_by_one
from shared.postgres.migrate import migrate
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import open_pool
from shared.postgres.publications import Publications
from shared.tasks import TaskScope
from shared.telemetry.metrics import Metrics
from shared.vault.session import open_vault
from shared.vault.transit import Transit

GROUP: Final = "key-vault"
FACTS_GROUP: Final = "key-vault-facts"
DRAIN_SECONDS: Final = 15.0
"""How long commands that have been read may take to be answered after a stop."""
_HEALTH_SHUTDOWN_SECONDS: Final = 1.0
_REWRAP_PAUSE_SECONDS: Final = 1.0
_MIGRATIONS: Final = Path(__file__).with_name("migrations")


class KeyVault:
    """The service, connected and ready to run."""

    def __init__(
        self,
        server: CallServer,
        facts: FactsConsumer,
        catalog: View,
        relay: OutboxRelay,
        publications: Publications,
        upkeep: Upkeep,
    ) -> None:
        """All parts are connected."""
        self._server = server
        self._facts = facts
        self._catalog = catalog
        self._relay = relay
        self._publications = publications
        self._upkeep = upkeep

    async def run(self, stop: asyncio.Event) -> None:
        """Answer commands until `stop`, then those already read; raises what broke a part of it."""
        async with TaskScope() as background, TaskScope() as serving:
            _ = background.start(self._catalog.run(asyncio.Event()), name="catalog")
            _ = background.start(self._relay.run(), name="outbox")
            _ = background.start(self._publications.run(), name="publications")
            _ = background.start(self._upkeep.send_heartbeats(), name="heartbeats")
            _ = background.start(self._upkeep.sweep(), name="sweeper")
            _ = serving.start(self._server.run(stop), name="commands")
            _ = serving.start(self._facts.run(stop), name="facts")
            await _first_set(stop, background.failed, serving.failed)
            if stop.is_set():
                _ = await serving.drain(DRAIN_SECONDS)
            for failure in (background.failure, serving.failure):
                if failure is not None:
                    raise failure


async def _first_set(*events: asyncio.Event) -> None:
    async with TaskScope() as scope:
        waiting = [scope.start(event.wait(), name="waiting") for event in events]
        _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


@asynccontextmanager
async def open_key_vault(
    config: KeyVaultConfig,
    *,
    clock: Clock | None = None,
    new_id: Callable[[], str] = new_id,
) -> AsyncIterator[KeyVault]:
    """Connect to everything, bring the schema up to date, and serve health while the block runs.

    Raises Unavailable, MigrationProblem or VaultRefused when it cannot start.
    """
    clock = clock or SystemClock()
    instance_id = new_instance_id("key-vault", config.process.instance_ordinal)
    metrics, readiness = Metrics(), Readiness()
    async with (
        serve(
            health_app(readiness, metrics),
            config.process.health_host,
            config.process.health_port,
            shutdown_seconds=_HEALTH_SHUTDOWN_SECONDS,
        ),
        open_pool(config.postgres, application_name=instance_id) as pool,
        open_vault(config.vault, clock) as vault,
        open_producer(config.kafka, source=instance_id, clock=clock, new_id=new_id) as producer,
    ):
        _ = await migrate(pool, _MIGRATIONS)
        state = CredentialsState(producer, instance_id=instance_id, clock=clock)
        relay = OutboxRelay(pool, producer, one_by_one(state.read))
        dead_letters = DeadLetters(producer, consumer=GROUP, clock=clock)
        catalog = CatalogView(config.kafka, clock=clock, dead_letters=dead_letters)
        publications, health = Publications(relay), PostgresHealth(pool)
        ports = Ports(
            encryption=VaultEncryption(Transit(vault)),
            credentials=PostgresCredentials(pool, producer, publications.hand),
            health=health,
            publish_state=StatePublisher(relay),
            catalog=catalog,
            egress_allowed=egress_allowed(config.egress_allow),
            clock=clock,
        )
        server = CallServer(
            config.kafka,
            group=GROUP,
            topic=CREDENTIALS_COMMANDS,
            handle=CommandsHandler(ports, metrics),
            producer=producer,
            dead_letters=dead_letters,
            clock=clock,
        )
        facts = FactsConsumer(
            config.kafka,
            group=FACTS_GROUP,
            topics=(CREDENTIALS_OBSERVATIONS, BILLING_FEES),
            handle=TakeInFacts(health),
            dead_letters=dead_letters,
            clock=clock,
        )
        upkeep = Upkeep(
            Chores(
                send_heartbeat=lambda: state.send_heartbeat(pool),
                bury_removed=lambda moment: bury_removed(pool, moment),
                forget_commands=lambda moment: forget_commands(pool, moment),
                forget_facts=lambda moment: forget_facts(pool, moment),
            ),
            clock=clock,
            metrics=metrics,
        )
        readiness.register("commands", server.problem)
        readiness.register("catalog", catalog.view.problem)
        readiness.register("facts", facts.problem)
        readiness.register("heartbeats", upkeep.problem)
        readiness.register("vault", vault.healthy)
        yield KeyVault(server, facts, catalog.view, relay, publications, upkeep)


async def rewrap_all(
    config: KeyVaultConfig,
    tell: Callable[[Rewrapped], None],
    *,
    clock: Clock | None = None,
    new_id: Callable[[], str] = new_id,
) -> Rewrapped:
    """Rewrap what is kept, beside running processes of this service; `tell` hears how far it is.

    Raises Unavailable, MigrationProblem or VaultRefused. It can be run again after anything.
    """
    clock = clock or SystemClock()
    instance_id = new_instance_id("key-vault-rewrap", config.process.instance_ordinal)
    async with (
        open_pool(config.postgres, application_name=instance_id) as pool,
        open_vault(config.vault, clock) as vault,
        open_producer(config.kafka, source=instance_id, clock=clock, new_id=new_id) as producer,
    ):
        _ = await migrate(pool, _MIGRATIONS)
        state = CredentialsState(producer, instance_id=instance_id, clock=clock)
        relay = OutboxRelay(pool, producer, one_by_one(state.read))
        ports = RewrapPorts(
            rewrapping=VaultRewrapping(Transit(vault)),
            ciphertexts=PostgresCiphertexts(pool),
            publish_states=StatePublisher(relay).many,
            pause=lambda: asyncio.sleep(_REWRAP_PAUSE_SECONDS),
            clock=clock,
        )
        rewrapped = await rewrap_credentials(ports, tell)
        # what Kafka did not acknowledge at first: see shared/postgres/dirty_keys
        await relay.sweep()
        return rewrapped


@asynccontextmanager
async def open_audit(config: KeyVaultConfig) -> AsyncIterator[tuple[AuditChains, PublishedAudit]]:
    """The audit alone, kept and published, for a tool that only reads it."""
    async with open_pool(config.postgres, application_name="key-vault-audit") as pool:
        yield PostgresAudit(pool), KafkaAudit(config.kafka)
