"""Builds ingress from its parts: the only file that names adapters."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from services.ingress.config import CreditsConfig, IngressConfig
from services.ingress.domain.limits import InFlightLimits
from services.ingress.inbound.http.api_key_pages import ApiKeyPages
from services.ingress.inbound.http.app import ingress_app, unreadable
from services.ingress.inbound.http.billing_pages import BillingPages
from services.ingress.inbound.http.bodies import Bodies
from services.ingress.inbound.http.byok_pages import ByokPages
from services.ingress.inbound.http.chat_completions import ChatCompletions, StreamSettings
from services.ingress.inbound.http.embeddings import Embeddings
from services.ingress.inbound.http.exchange import Endpoints
from services.ingress.inbound.http.generations import Generations
from services.ingress.inbound.http.key_page import KeyPage
from services.ingress.inbound.http.management import Management
from services.ingress.inbound.http.measurements import HttpMeasurements
from services.ingress.inbound.http.models_page import ModelsPage
from services.ingress.inbound.http.operator_pages import OperatorPages
from services.ingress.inbound.http.plan_page import PlanPage
from services.ingress.inbound.http.stripe_webhook import StripeWebhook
from services.ingress.inbound.kafka_replies import Heartbeats, Replies
from services.ingress.outbound.api_key_secrets import new_api_key
from services.ingress.outbound.kafka_announcements import KafkaAnnouncements
from services.ingress.outbound.kafka_calls import (
    KafkaBilling,
    KafkaBillingQueries,
    KafkaCredentialCommands,
    KafkaPlans,
)
from services.ingress.outbound.kafka_heartbeat import KafkaHeartbeat
from services.ingress.outbound.kafka_payments import KafkaPayments
from services.ingress.outbound.kafka_requests import KafkaRequests
from services.ingress.outbound.kafka_views import ViewedBalances, ViewedCatalog
from services.ingress.outbound.measurements import CountedGenerations, CountedPayments
from services.ingress.outbound.postgres_account_api_keys import PostgresAccountApiKeys
from services.ingress.outbound.postgres_accounts import StateReader
from services.ingress.outbound.postgres_api_keys import PostgresApiKeys
from services.ingress.outbound.postgres_known_accounts import PostgresKnownAccounts
from services.ingress.outbound.vault_intake import VaultIntake
from services.ingress.outbound.vault_wire_keys import VaultWireKeys
from services.ingress.process import Ingress
from services.ingress.use_cases.administer_api_keys import AdministerApiKeys
from services.ingress.use_cases.administer_credentials import AdministerCredentials
from services.ingress.use_cases.await_check import AwaitCheck
from services.ingress.use_cases.complete_chat import CompleteChat
from services.ingress.use_cases.describe_key import DescribeKey
from services.ingress.use_cases.describe_plan import DescribePlan
from services.ingress.use_cases.known_callers import KnownCallers
from services.ingress.use_cases.move_credits import MoveCredits
from services.ingress.use_cases.name_credentials import NameCredentials
from services.ingress.use_cases.read_receipts import ReadReceipts
from services.ingress.use_cases.read_usage import ReadUsage
from services.ingress.use_cases.take_payment_news import TakePaymentNews
from services.ingress.use_cases.waiting import WaitingGenerations
from shared.clock import Clock
from shared.events.envelope import StateEvent
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
from shared.ids import AccountId, ApiKeyHash, InstanceId, new_generation_id, new_instance_id
from shared.kafka.calls import Calls
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import EventProducer, open_producer
from shared.kafka.readers import PartitionReader
from shared.kafka.view import OnChange, View
from shared.postgres.dirty_keys import one_by_one
from shared.postgres.migrate import migrate
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import Pool, open_pool
from shared.tasks import TaskScope
from shared.telemetry.metrics import Metrics
from shared.vault.session import open_vault
from shared.vault.transit import Transit

MIGRATIONS: Final = Path(__file__).parent / "migrations"
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
        ingress = _build(
            config,
            instance=instance,
            pool=pool,
            transit=transit,
            wire_keys=wire_keys,
            producer=producer,
            lookups=lookups,
            metrics=metrics,
            readiness=readiness,
            clock=clock,
            new_id=new_id,
        )
        async with serve(
            health_app(readiness, metrics),
            process.health_host,
            process.health_port,
            shutdown_seconds=_HEALTH_SHUTDOWN_SECONDS,
        ):
            yield ingress


def _build(
    config: IngressConfig,
    *,
    instance: InstanceId,
    pool: Pool,
    transit: Transit,
    wire_keys: VaultWireKeys,
    producer: EventProducer,
    lookups: TaskScope,
    metrics: Metrics,
    readiness: Readiness,
    clock: Clock,
    new_id: Callable[[], str],
) -> Ingress:
    """Join the parts."""
    ordinal = config.process.instance_ordinal
    dead_letters = DeadLetters(producer, consumer=_SERVICE, clock=clock)
    announcements = KafkaAnnouncements(
        producer, clock=clock, generation_seconds_max=config.generation_seconds_max
    )
    waiting = WaitingGenerations(
        clock=clock,
        announcements=announcements,
        measurements=CountedGenerations(metrics),
    )
    calls = Calls(
        producer, reply_topic=INGRESS_REPLIES, reply_partition=ordinal, clock=clock, new_id=new_id
    )
    heartbeats = Heartbeats(waiting, instance_id=instance, ordinal=ordinal)
    books = PostgresApiKeys(pool)
    callers = KnownCallers(books, clock=clock, scope=lookups)
    catalog = ViewedCatalog()

    def view(topic: Topic, on_change: OnChange | None = None) -> View:
        return View(
            config.kafka, topic, clock=clock, dead_letters=dead_letters, on_change=on_change
        )

    def key_changed(key: str, _state: StateEvent | None) -> None:
        callers.forget_key(ApiKeyHash(key))

    def account_changed(key: str, _state: StateEvent | None) -> None:
        callers.forget_account(AccountId(key))

    catalog_view = view(CATALOG_MODELS, catalog.on_change)
    catalog.follow(catalog_view)
    balances_view = view(BILLING_ACCOUNTS)
    replies = PartitionReader(
        config.kafka,
        topic=INGRESS_REPLIES,
        partition=ordinal,
        start="end",
        on_record=Replies(waiting, calls).on_record,
        dead_letters=dead_letters,
        clock=clock,
    )
    broadcasts = PartitionReader(
        config.kafka,
        topic=INFERENCE_CANCELLATIONS,
        partition=0,
        start="end",
        on_record=heartbeats.on_record,
        dead_letters=dead_letters,
        clock=clock,
    )
    complete_chat = CompleteChat(
        instance_id=instance,
        reply_partition=ordinal,
        limits=InFlightLimits(
            per_account=config.account_in_flight_max, per_process=config.process_in_flight_max
        ),
        generation_seconds_max=config.generation_seconds_max,
        catalog=catalog,
        wire_keys=wire_keys,
        requests=KafkaRequests(producer),
        announcements=announcements,
        waiting=waiting,
        clock=clock,
    )
    administer = AdministerCredentials(
        catalog=catalog,
        members=books,
        intake=VaultIntake(transit),
        commands=KafkaCredentialCommands(calls),
        new_id=new_id,
    )
    billing = KafkaBilling(calls)
    describe_key = DescribeKey(billing=billing, balances=ViewedBalances(balances_view), clock=clock)
    outbox = OutboxRelay(pool, producer, one_by_one(StateReader(producer)))
    administer_api_keys = AdministerApiKeys(
        keys=PostgresAccountApiKeys(pool, outbox),
        members=books,
        billing=billing,
        forget=callers.forget_key,
        new_api_key=new_api_key,
        clock=clock,
    )
    queries = KafkaBillingQueries(calls)
    measurements = HttpMeasurements(metrics)
    http = config.http
    bodies = Bodies(seconds_max=http.body_seconds_max, held_bytes_max=http.held_body_bytes_max)
    generations = Generations(
        callers=callers,
        bodies=bodies,
        complete_chat=complete_chat,
        measurements=measurements,
        clock=clock,
        new_generation_id=new_generation_id,
        is_stopping=lambda: ingress.is_stopping,
    )
    app = ingress_app(
        Endpoints(measurements=measurements, clock=clock, new_id=new_id),
        managed=Management(callers),
        chat_completions=ChatCompletions(
            generations=generations,
            streams=StreamSettings(
                headers_after_seconds=http.sse_headers_after_seconds,
                sends_keep_alive=http.sse_keep_alive,
            ),
            clock=clock,
        ),
        embeddings=Embeddings(generations),
        models=ModelsPage(catalog),
        key=KeyPage(callers=callers, describe_key=describe_key),
        api_keys=ApiKeyPages(bodies=bodies, administer=administer_api_keys),
        byok=ByokPages(
            bodies=bodies,
            administer=administer,
            trusted_proxies=http.trusted_proxies,
            await_check=AwaitCheck(administer.get),
        ),
        plan=PlanPage(
            DescribePlan(catalog=catalog, api_keys=books, plans=KafkaPlans(calls), clock=clock)
        ),
        billing=BillingPages(
            callers=callers,
            catalog=catalog,
            receipts=ReadReceipts(
                billing=queries,
                clock=clock,
                generation_seconds_max=config.generation_seconds_max,
            ),
            usage=ReadUsage(billing=queries, members=books),
            name_credentials=NameCredentials(KafkaCredentialCommands(calls)),
            clock=clock,
        ),
        operator=_operator(config.credits, pool=pool, calls=calls, bodies=bodies),
        stripe=_stripe(
            config.credits,
            bodies=bodies,
            take=TakePaymentNews(
                accounts=PostgresKnownAccounts(pool),
                payments=KafkaPayments(calls, producer),
                measurements=CountedPayments(metrics),
            ),
            clock=clock,
        ),
    )
    ingress = Ingress(
        app=app,
        unreadable=unreadable,
        http=http,
        replies=replies,
        sources=(
            broadcasts,
            catalog_view,
            balances_view,
            view(API_KEYS_STATE, key_changed),
            view(ACCOUNTS_STATE, account_changed),
        ),
        background={
            "heartbeat": KafkaHeartbeat(
                producer, instance_id=instance, ordinal=ordinal, clock=clock
            ).run,
            "announcements": announcements.run,
            "wire keys": wire_keys.run,
            "outbox": outbox.run,
        },
        flush=announcements.flush,
        superseded=heartbeats.superseded,
        waiting=waiting,
    )
    for name, check in (
        ("process", ingress.problem),
        ("replies", replies.problem),
        ("catalog", catalog.problem),
        ("heartbeat", waiting.problem),
        ("wire key", wire_keys.problem),
    ):
        readiness.register(name, check)
    return ingress


def _operator(
    config: CreditsConfig, *, pool: Pool, calls: Calls, bodies: Bodies
) -> OperatorPages | None:
    """The operators' API, where there is a token for it."""
    if config.operator_token is None:
        return None
    move_credits = MoveCredits(accounts=PostgresKnownAccounts(pool), billing=KafkaBilling(calls))
    return OperatorPages(token=config.operator_token, bodies=bodies, move_credits=move_credits)


def _stripe(
    config: CreditsConfig, *, bodies: Bodies, take: TakePaymentNews, clock: Clock
) -> StripeWebhook | None:
    """Stripe's endpoint, where there is a secret for it."""
    if not config.stripe_webhook_secrets:
        return None
    return StripeWebhook(
        secrets=config.stripe_webhook_secrets,
        live_mode=config.stripe_live_mode,
        bodies=bodies,
        take=take,
        clock=clock,
    )
