"""Builds the dispatcher from its parts: the only file that names adapters."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Final

from services.dispatcher.config import DispatcherConfig
from services.dispatcher.domain.health import HealthTable
from services.dispatcher.domain.observations import Observations
from services.dispatcher.inbound.kafka_cancellations import READ_BACK, Cancellations
from services.dispatcher.inbound.kafka_checks import Checks
from services.dispatcher.inbound.kafka_plans import Plans
from services.dispatcher.inbound.kafka_requests import Requests
from services.dispatcher.outbound.balances_view import BalancesView
from services.dispatcher.outbound.catalog_view import CatalogView
from services.dispatcher.outbound.credentials_view import CredentialsView
from services.dispatcher.outbound.kafka_facts import KafkaFacts
from services.dispatcher.outbound.kafka_health import KafkaHealth
from services.dispatcher.outbound.kafka_liveness import KafkaLiveness
from services.dispatcher.outbound.kafka_observations import KafkaObservations
from services.dispatcher.outbound.kafka_replies import KafkaReplies
from services.dispatcher.outbound.kafka_spending import KafkaSpending
from services.dispatcher.outbound.measurements import Measurements
from services.dispatcher.outbound.providers.registry import ENDPOINT_NAMES, open_providers
from services.dispatcher.outbound.vault_credentials import VaultCredentials
from services.dispatcher.outbound.vault_wire_keys import VaultWireKeys
from services.dispatcher.ports import Provider
from services.dispatcher.process import Dispatcher
from services.dispatcher.use_cases.authorize_spend import AuthorizeAttempt
from services.dispatcher.use_cases.call_provider import CallProvider
from services.dispatcher.use_cases.check_credential import CheckCredential
from services.dispatcher.use_cases.describe_plan import DescribePlan
from services.dispatcher.use_cases.finish_generation import FinishGeneration
from services.dispatcher.use_cases.plan_request import PlanRequest
from services.dispatcher.use_cases.run_generation import RunGeneration
from services.dispatcher.use_cases.running import Running
from shared.clock import Clock
from shared.events.codec import Received
from shared.events.topic import Topic
from shared.events.topics import (
    CREDENTIALS_CHECKS,
    DISPATCHER_REPLIES,
    INFERENCE_CANCELLATIONS,
    INFERENCE_REQUESTS,
    ROUTING_HEALTH,
    ROUTING_PLANS,
)
from shared.http.health import Readiness, health_app
from shared.http.server import serve
from shared.ids import CredentialId, InstanceId, new_instance_id
from shared.kafka.calls import Calls, CallServer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import EventProducer, open_producer
from shared.kafka.readers import PartitionReader
from shared.kafka.work import WorkConsumer
from shared.tasks import TaskScope
from shared.telemetry.logging import get_logger
from shared.telemetry.metrics import Metrics
from shared.vault.session import open_vault
from shared.vault.transit import Transit

GROUP: Final = "dispatcher"
PLANS_GROUP: Final = "dispatcher-plans"
"""Its own: questions about plans never move the partitions that requests come by."""
CHECKS_GROUP: Final = "dispatcher-checks"
_CHECKS_WAITING_MAX: Final = 256
"""Checks that one dispatcher takes at the same time; more wait in Kafka."""
_CHECKS_BYTES_MAX: Final = 1024 * 1024
_SERVICE: Final = "dispatcher"
_HEALTH_READ_BACK: Final = timedelta(minutes=30)
_HEALTH_SHUTDOWN_SECONDS: Final = 1.0

OpenProviders = Callable[..., AbstractAsyncContextManager[Mapping[str, Provider]]]


@asynccontextmanager
async def open_dispatcher(
    config: DispatcherConfig,
    *,
    clock: Clock,
    new_id: Callable[[], str],
    providers_from: OpenProviders = open_providers,
) -> AsyncIterator[Dispatcher]:
    """Connect, serve health and metrics; yields the parts, ready to run."""
    instance = new_instance_id(_SERVICE, config.process.instance_ordinal)
    metrics, readiness = Metrics(), Readiness()
    async with (
        open_producer(config.kafka, source=instance, clock=clock, new_id=new_id) as producer,
        open_vault(config.vault, clock) as vault,
        providers_from(
            endpoints=_of_known_providers(config.providers.endpoint_of),
            egress_allow=frozenset(config.providers.egress_allow),
            clock=clock,
        ) as providers,
        TaskScope() as background,
        TaskScope() as runs,
    ):
        dispatcher = _build(
            config,
            instance=instance,
            producer=producer,
            transit=Transit(vault),
            providers=providers,
            background=background,
            runs=runs,
            metrics=metrics,
            clock=clock,
            new_id=new_id,
        )
        readiness.register("vault", vault.healthy)
        readiness.register("knowledge", dispatcher.unready)
        readiness.register("work", dispatcher.work.problem)
        readiness.register("plans", dispatcher.plans.problem)
        async with serve(
            health_app(readiness, metrics),
            config.process.health_host,
            config.process.health_port,
            shutdown_seconds=_HEALTH_SHUTDOWN_SECONDS,
        ):
            yield dispatcher


def _build(
    config: DispatcherConfig,
    *,
    instance: InstanceId,
    producer: EventProducer,
    transit: Transit,
    providers: Mapping[str, Provider],
    background: TaskScope,
    runs: TaskScope,
    metrics: Metrics,
    clock: Clock,
    new_id: Callable[[], str],
) -> Dispatcher:
    kafka = config.kafka
    dead_letters = DeadLetters(producer, consumer=GROUP, clock=clock)
    health, observations, running = HealthTable(), Observations(), Running()

    def on_new_secret(credential_id: CredentialId) -> None:
        secrets.forget(credential_id)
        health.forget(credential_id)

    credentials = CredentialsView(
        kafka, clock=clock, dead_letters=dead_letters, on_new_secret=on_new_secret
    )
    secrets = VaultCredentials(
        transit,
        newest_ciphertext=credentials.newest_ciphertext,
        clock=clock,
        scope=background,
    )
    catalog = CatalogView(kafka, clock=clock, dead_letters=dead_letters)
    balances = BalancesView(kafka, clock=clock, dead_letters=dead_letters)
    broadcast = KafkaHealth(producer, health, instance=instance, scope=background)
    told = KafkaObservations(producer, observations, health, clock=clock)
    cancellations = Cancellations(running, clock=clock)
    calls = Calls(
        producer,
        reply_topic=DISPATCHER_REPLIES,
        reply_partition=config.process.instance_ordinal,
        clock=clock,
        new_id=new_id,
    )

    def reader(
        topic: Topic,
        on_record: Callable[[Received], object],
        *,
        back: timedelta | None = None,
        partition: int = 0,
    ) -> PartitionReader:
        return PartitionReader(
            kafka,
            topic=topic,
            partition=partition,
            start="end" if back is None else back,
            on_record=lambda received: _ignore(on_record(received)),
            dead_letters=dead_letters,
            clock=clock,
        )

    replies = reader(DISPATCHER_REPLIES, calls.on_record, partition=config.process.instance_ordinal)
    sources = (
        credentials.view,
        catalog.view,
        balances.view,
        reader(INFERENCE_CANCELLATIONS, cancellations.on_record, back=READ_BACK),
        reader(ROUTING_HEALTH, broadcast.on_record, back=_HEALTH_READ_BACK),
    )
    observer = Measurements(metrics, in_flight=lambda: len(running))
    planner = PlanRequest(
        catalog=catalog, credentials=credentials, health=health, providers=providers
    )
    generation = RunGeneration(
        wire_keys=VaultWireKeys(transit, clock=clock, scope=background),
        planner=planner,
        authorizer=AuthorizeAttempt(balances=balances, spending=KafkaSpending(calls), clock=clock),
        secrets=secrets,
        caller=CallProvider(
            providers=providers,
            first_token_seconds_max=config.providers.first_token_seconds_max,
            whole_answer_seconds_max=config.providers.whole_answer_seconds_max,
            clock=clock,
        ),
        health=health,
        observations=observations,
        broadcast=broadcast,
        replies=KafkaReplies(producer, scope=background, frames=observer.frames),
        finisher=FinishGeneration(facts=KafkaFacts(producer), background=background, clock=clock),
        running=running,
        observer=observer,
        clock=clock,
    )
    requests = Requests(
        generation,
        scope=runs,
        expect=cancellations.expect,
        clock=clock,
        new_id=new_id,
        metrics=metrics,
    )
    check = CheckCredential(
        credentials=credentials,
        secrets=secrets,
        providers=providers,
        health=health,
        broadcast=broadcast,
        observations=observations,
        results=told,
        clock=clock,
    )

    def unready() -> str | None:
        """Why no request may be planned yet."""
        problem = credentials.problem()
        if problem is not None:
            return problem
        unread = [each.topic.name for each in (replies, *sources) if not each.ready.is_set()]
        return f"{unread[0]} has not been read to its end" if unread else None

    return Dispatcher(
        replies=replies,
        sources=sources,
        work=WorkConsumer(
            kafka,
            group=GROUP,
            topic=INFERENCE_REQUESTS,
            start=requests.start,
            dead_letters=dead_letters,
            in_flight_max=config.in_flight_max,
            bytes_max=config.in_flight_bytes_max,
        ),
        plans=CallServer(
            kafka,
            group=PLANS_GROUP,
            topic=ROUTING_PLANS,
            handle=Plans(DescribePlan(planner=planner, balances=balances, clock=clock)),
            producer=producer,
            dead_letters=dead_letters,
            clock=clock,
        ),
        checks=WorkConsumer(
            kafka,
            group=CHECKS_GROUP,
            topic=CREDENTIALS_CHECKS,
            start=Checks(check, scope=background).start,
            dead_letters=dead_letters,
            in_flight_max=_CHECKS_WAITING_MAX,
            bytes_max=_CHECKS_BYTES_MAX,
        ),
        observations=told,
        running=running,
        runs=runs,
        background=background,
        cancellations=cancellations,
        liveness=KafkaLiveness(producer, running.held_for_each_partition, instance=instance),
        unready=unready,
        drain_seconds=config.drain_seconds,
    )


def _of_known_providers(endpoints: Mapping[str, str]) -> Mapping[str, str]:
    """The base URLs that there are adapters for; the others are said and passed over.

    One list of endpoints may serve installations of several versions.
    """
    for slug in sorted(endpoints.keys() - ENDPOINT_NAMES):
        get_logger("wiring").warning("PROVIDER_ENDPOINTS names an unknown provider", provider=slug)
    return {slug: url for slug, url in endpoints.items() if slug in ENDPOINT_NAMES}


def _ignore(_result: object) -> None:
    """A reader's callback answers nothing."""
