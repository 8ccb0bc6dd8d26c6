"""Builds ingress from its parts: the only place that names adapters.

Here what is opened and what runs; `generations.py` has the way of a generation, `pages.py` what is
answered besides.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from services.ingress.config import IngressConfig
from services.ingress.inbound.http.app import unreadable
from services.ingress.inbound.kafka_replies import Heartbeats, Replies
from services.ingress.outbound.kafka_announcements import KafkaAnnouncements
from services.ingress.outbound.kafka_heartbeat import KafkaHeartbeat
from services.ingress.outbound.kafka_views import ViewedBalances, ViewedCatalog
from services.ingress.outbound.measurements import CountedGenerations
from services.ingress.outbound.postgres_accounts import StateReader
from services.ingress.outbound.postgres_api_keys import PostgresApiKeys
from services.ingress.outbound.vault_wire_keys import VaultWireKeys
from services.ingress.process import Ingress
from services.ingress.use_cases.known_callers import KnownCallers
from services.ingress.use_cases.waiting import WaitingGenerations
from services.ingress.wiring.pages import build_app
from services.ingress.wiring.parts import Opened, Parts
from shared.clock import Clock
from shared.events.codec import Received
from shared.events.topic import Topic
from shared.events.topics import (
    ACCOUNTS_STATE,
    API_KEYS_STATE,
    BILLING_ACCOUNTS,
    CATALOG_MODELS,
    INFERENCE_CANCELLATIONS,
    INGRESS_REPLIES,
)
from shared.http.health import Readiness, health_app
from shared.http.server import serve
from shared.ids import AccountId, ApiKeyHash, new_instance_id
from shared.kafka.calls import Calls
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import open_producer
from shared.kafka.readers import PartitionReader
from shared.kafka.view import OnChange, View
from shared.postgres.dirty_keys import one_by_one
from shared.postgres.migrate import migrate
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import open_pool
from shared.tasks import TaskScope
from shared.telemetry.metrics import Metrics
from shared.vault.session import open_vault
from shared.vault.transit import Transit

MIGRATIONS: Final = Path(__file__).parents[1] / "migrations"
_SERVICE: Final = "ingress"
_HEALTH_SHUTDOWN_SECONDS: Final = 1.0


@asynccontextmanager
async def open_ingress(
    config: IngressConfig, *, clock: Clock, new_id: Callable[[], str]
) -> AsyncIterator[Ingress]:
    """Connect, bring the schema up to date, serve health and metrics; yields the ready parts."""
    instance = new_instance_id(_SERVICE, config.process.instance_ordinal)
    metrics, readiness = Metrics(), Readiness()
    process = config.process
    async with (
        open_pool(config.postgres, application_name=_SERVICE) as pool,
        open_vault(config.vault, clock) as vault,
        open_producer(config.kafka, source=instance, clock=clock, new_id=new_id) as producer,
        TaskScope() as lookups,
    ):
        await migrate(pool, MIGRATIONS)
        transit = Transit(vault)
        wire_keys = VaultWireKeys(transit, clock=clock)
        await wire_keys.renew()
        opened = Opened(
            config=config,
            instance=instance,
            pool=pool,
            transit=transit,
            wire_keys=wire_keys,
            producer=producer,
            lookups=lookups,
            metrics=metrics,
            clock=clock,
            new_id=new_id,
        )
        ingress = _build(opened, readiness)
        async with serve(
            health_app(readiness, metrics),
            process.health_host,
            process.health_port,
            shutdown_seconds=_HEALTH_SHUTDOWN_SECONDS,
        ):
            yield ingress


def _build(opened: Opened, readiness: Readiness) -> Ingress:
    """Join the parts."""
    config, producer, clock = opened.config, opened.producer, opened.clock
    ordinal = config.process.instance_ordinal
    dead_letters = DeadLetters(producer, consumer=_SERVICE, clock=clock)

    def view(topic: Topic, on_change: OnChange | None = None) -> View:
        return View(
            config.kafka, topic, clock=clock, dead_letters=dead_letters, on_change=on_change
        )

    def reader(
        topic: Topic, on_record: Callable[[Received], None], *, partition: int = 0
    ) -> PartitionReader:
        return PartitionReader(
            config.kafka,
            topic=topic,
            partition=partition,
            start="end",
            on_record=on_record,
            dead_letters=dead_letters,
            clock=clock,
        )

    balances = view(BILLING_ACCOUNTS)
    parts = _parts(opened, balances)
    catalog, callers, waiting = parts.catalog, parts.callers, parts.waiting
    catalog_view = view(CATALOG_MODELS, catalog.on_change)
    catalog.follow(catalog_view)
    heartbeats = Heartbeats(waiting, instance_id=opened.instance, ordinal=ordinal)
    replies = reader(INGRESS_REPLIES, Replies(waiting, parts.calls).on_record, partition=ordinal)
    ingress = Ingress(
        app=build_app(opened, parts, is_stopping=lambda: ingress.is_stopping),
        unreadable=unreadable,
        http=config.http,
        replies=replies,
        sources=(
            reader(INFERENCE_CANCELLATIONS, heartbeats.on_record),
            catalog_view,
            balances,
            view(API_KEYS_STATE, lambda key, _: callers.forget_key(ApiKeyHash(key))),
            view(ACCOUNTS_STATE, lambda key, _: callers.forget_account(AccountId(key))),
        ),
        background={
            "heartbeat": KafkaHeartbeat(
                producer, instance_id=opened.instance, ordinal=ordinal, clock=clock
            ).run,
            "announcements": parts.announcements.run,
            "wire keys": opened.wire_keys.run,
            "outbox": parts.outbox.run,
        },
        flush=parts.announcements.flush,
        superseded=heartbeats.superseded,
        waiting=waiting,
    )
    for name, check in (
        ("process", ingress.problem),
        ("replies", replies.problem),
        ("catalog", catalog.problem),
        ("heartbeat", waiting.problem),
        ("wire key", opened.wire_keys.problem),
    ):
        readiness.register(name, check)
    return ingress


def _parts(opened: Opened, balances: View) -> Parts:
    config, producer, clock = opened.config, opened.producer, opened.clock
    announcements = KafkaAnnouncements(
        producer, clock=clock, generation_seconds_max=config.generation_seconds_max
    )
    books = PostgresApiKeys(opened.pool)
    measurements = CountedGenerations(opened.metrics)
    waiting = WaitingGenerations(
        clock=clock, announcements=announcements, measurements=measurements
    )
    measurements.watch(waiting)
    return Parts(
        announcements=announcements,
        waiting=waiting,
        calls=Calls(
            producer,
            reply_topic=INGRESS_REPLIES,
            reply_partition=config.process.instance_ordinal,
            clock=clock,
            new_id=opened.new_id,
        ),
        books=books,
        callers=KnownCallers(books, clock=clock, scope=opened.lookups),
        catalog=ViewedCatalog(),
        balances=ViewedBalances(balances),
        outbox=OutboxRelay(opened.pool, producer, one_by_one(StateReader(producer))),
    )
