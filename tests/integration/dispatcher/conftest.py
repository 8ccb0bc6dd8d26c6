"""A dispatcher on real Kafka and OpenBao, with a simulated provider, in a world played by the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.dispatcher.config import DispatcherConfig
from services.dispatcher.process import Dispatcher
from services.dispatcher.wiring import open_dispatcher
from shared.clock import SystemClock
from shared.config.environment import load
from shared.events.billing import AuthorizeSpend, SpendAuthorized, SpendRefused
from shared.events.catalog import Capabilities, CatalogEndpoint, ModelListed
from shared.events.codec import Received
from shared.events.completions import (
    CompletionRequested,
    DispatcherAlive,
    GenerationCancelled,
    IngressAlive,
    ReplyFrame,
)
from shared.events.credential_secrets import StringSecret, encode_secret
from shared.events.credentials import (
    CredentialChanged,
    CredentialRemoved,
    CredentialsHeartbeat,
    Filters,
    credential_context,
    credential_key,
)
from shared.events.envelope import CallReply, Event, Refused, type_of
from shared.events.generations import GenerationFinished
from shared.events.replies import ReplyCompleted, ReplyFailed, ReplyPart
from shared.events.routing import FallbackDecided, HealthChanged
from shared.events.topic import Topic
from shared.events.topics import (
    BILLING_COMMANDS,
    CATALOG_MODELS,
    CREDENTIALS_STATE,
    INFERENCE_CANCELLATIONS,
    INFERENCE_GENERATIONS,
    INFERENCE_REQUESTS,
    INGRESS_REPLIES,
    ROUTING_FALLBACKS,
    ROUTING_HEALTH,
)
from shared.events.usage import Prices
from shared.ids import (
    PLATFORM_ACCOUNT,
    AccountId,
    ApiKeyHash,
    CredentialId,
    GenerationId,
    InstanceId,
    RunId,
    new_generation_id,
    new_id,
)
from shared.kafka.calls import CallServer, ReceivedCall
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import EventProducer, open_producer
from shared.kafka.readers import PartitionReader
from shared.kafka.record import Record
from shared.kafka.view import View
from shared.sealing import Seal
from shared.tasks import TaskScope
from shared.vault.config import VaultConfig
from shared.vault.session import open_vault
from shared.vault.transit import Transit
from tests.conftest import Infrastructure
from tests.simulator.app import Simulator, running_simulator
from tests.simulator.call_log import CallLog
from tests.support.wait_until import wait_until

MODEL = "made-up/dispatched"
ANSWER_SECONDS = 20.0
PRICES = Prices(prompt=2_500_000, completion=10_000_000)
_CLOCK = SystemClock()
_PARTITION = 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need the real servers."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.connected)


@dataclass(slots=True)
class Answer:
    """What came back for one generation, in order."""

    frames: list[ReplyFrame] = field(default_factory=list)
    parts: list[ReplyPart] = field(default_factory=list)
    named: int = 0

    @property
    def is_over(self) -> bool:
        return bool(self.frames) and self.frames[-1].last

    @property
    def end(self) -> ReplyCompleted | ReplyFailed:
        found = self.parts[-1]
        assert isinstance(found, ReplyCompleted | ReplyFailed)
        return found


@dataclass(slots=True)
class World:
    """Ingress, key_vault and billing as the dispatcher hears them, and all that it says."""

    producer: EventProducer
    credentials: View
    ingress_vault: Transit
    key_vault: Transit
    simulator: Simulator
    instance: InstanceId = field(default_factory=lambda: InstanceId(f"ingress-0-{new_id()}"))
    data_key: bytes = b""
    wire_key: str = ""
    answers: dict[GenerationId, Answer] = field(default_factory=dict)
    heard: list[Event] = field(default_factory=list)
    refuse_spend: bool = False
    is_alive: bool = True
    made: list[tuple[AccountId, CredentialId]] = field(default_factory=list)

    def on_record(self, received: Received) -> None:
        event = received.event
        match event:
            case ReplyFrame():
                answer = self.answers.setdefault(event.generation_id, Answer())
                opened = Seal(self.data_key, event.generation_id).open(
                    type_of(ReplyFrame), event.run_id, event.number, received.content or b""
                )
                answer.frames.append(event)
                answer.parts.extend(msgspec.json.decode(opened, type=list[ReplyPart]))
            case DispatcherAlive():
                for generation_id in event.generation_ids:
                    self.answers.setdefault(generation_id, Answer()).named += 1
            case _:
                self.heard.append(event)

    async def authorize(self, calls: Any) -> list[CallReply]:
        return [self._authorize(call) for call in calls]

    def _authorize(self, call: ReceivedCall) -> CallReply:
        command = call.command
        if not isinstance(command, AuthorizeSpend):  # left on the topic by another test
            return Refused(code="not_found", message="")
        if self.refuse_spend:
            return SpendRefused(
                code="insufficient_credits",
                message="",
                needed_nano_usd=command.worst_case_nano_usd,
                available_nano_usd=1,
            )
        return SpendAuthorized(hold_id=command.hold_id, waived=command.is_byok)

    async def beat(self) -> None:
        """key_vault and ingress live."""
        while True:
            if self.credentials.ready.is_set():
                heartbeat = CredentialsHeartbeat(
                    instance_id="key-vault-test",
                    sent_at=_CLOCK.now(),
                    live_count=len(self.credentials),
                )
                await self.producer.emit(CREDENTIALS_STATE, heartbeat, key="key-vault-test")
            if self.is_alive:
                alive = IngressAlive(instance_id=self.instance, ordinal=0, sent_at=_CLOCK.now())
                await self.producer.emit(INFERENCE_CANCELLATIONS, alive, key=self.instance)
            await asyncio.sleep(0.5)

    async def add_credential(
        self, secret: str, *, account_id: AccountId, order: int = 0, always_use: bool = False
    ) -> CredentialId:
        """Keep a provider key as key_vault would."""
        credential_id = CredentialId(new_id())
        ciphertext = await self.key_vault.encrypt(
            "credentials",
            encode_secret(StringSecret(value=secret)),
            context=credential_context(account_id, credential_id),
        )
        changed = CredentialChanged(
            version=1,
            account_id=account_id,
            credential_id=credential_id,
            provider="openai",
            label="sk-...",
            enabled=True,
            section="prioritized",
            always_use=always_use,
            order=order,
            filters=Filters(models=[MODEL]),
            secret_revision=1,
            ciphertext=ciphertext,
            created_at=_CLOCK.now(),
        )
        key = credential_key(account_id, credential_id)
        await self.producer.emit(CREDENTIALS_STATE, changed, key=key)
        self.made.append((account_id, credential_id))
        await wait_until(lambda: self.credentials.get(key) is not None)
        return credential_id

    async def forget_credentials(self) -> None:
        """Leave nothing behind for whoever counts next."""
        for account_id, credential_id in self.made:
            key = credential_key(account_id, credential_id)
            removed = CredentialRemoved(
                version=2, account_id=account_id, credential_id=credential_id
            )
            await self.producer.emit(CREDENTIALS_STATE, removed, key=key)
            await self.producer.send(
                Record(topic=CREDENTIALS_STATE.name, key=key.encode(), value=None)
            )

    async def ask(
        self,
        account_id: AccountId,
        *,
        start_by_seconds: float = 15,
        generation_id: GenerationId | None = None,
        words: str = "words=8",
        **fields: object,
    ) -> GenerationId:
        """Send a request as an ingress would."""
        generation_id = generation_id or new_generation_id()
        now = _CLOCK.now()
        asked = CompletionRequested(
            generation_id=generation_id,
            account_id=account_id,
            api_key_hash=ApiKeyHash("a" * 64),
            wire_key=self.wire_key,
            reply_instance=self.instance,
            reply_partition=_PARTITION,
            received_at=now,
            start_by=now + timedelta(seconds=start_by_seconds),
            deadline=now + timedelta(seconds=60),
        )
        body = {"model": MODEL, "messages": [{"role": "user", "content": words}]} | fields
        seal = Seal(self.data_key, generation_id)
        content = seal.seal(type_of(CompletionRequested), "", 0, msgspec.json.encode(body))
        await self.producer.emit(INFERENCE_REQUESTS, asked, key=generation_id, content=content)
        return generation_id

    async def answer(self, generation_id: GenerationId) -> Answer:
        """The whole answer."""
        await wait_until(
            lambda: self.answers.get(generation_id, Answer()).is_over,
            deadline_seconds=ANSWER_SECONDS,
            otherwise=lambda: f"only {self.answers.get(generation_id)}",
        )
        return self.answers[generation_id]

    async def fact(self, generation_id: GenerationId) -> GenerationFinished:
        """What billing would charge by."""
        await wait_until(lambda: bool(self._facts(generation_id)), deadline_seconds=ANSWER_SECONDS)
        (fact,) = self._facts(generation_id)
        return fact

    def _facts(self, generation_id: GenerationId) -> list[GenerationFinished]:
        return [
            each
            for each in self.heard
            if isinstance(each, GenerationFinished) and each.generation_id == generation_id
        ]

    async def cancel(self, generation_id: GenerationId, run_id: RunId | None = None) -> None:
        """The client left."""
        await self.producer.emit(
            INFERENCE_CANCELLATIONS,
            GenerationCancelled(
                generation_id=generation_id,
                run_id=run_id,
                reason="client_gone",
                deadline=_CLOCK.now() + timedelta(seconds=60),
            ),
            key=generation_id,
        )

    def fallbacks(self, generation_id: GenerationId) -> list[FallbackDecided]:
        return [
            each
            for each in self.heard
            if isinstance(each, FallbackDecided) and each.generation_id == generation_id
        ]

    def health(self, credential_id: CredentialId) -> list[HealthChanged]:
        return [
            each
            for each in self.heard
            if isinstance(each, HealthChanged) and each.credential_id == credential_id
        ]


def _model() -> ModelListed:
    return ModelListed(
        version=1,
        slug=MODEL,
        name="Dispatched",
        created=0,
        description="Made up for tests",
        context_length_tokens=10_000,
        output_tokens_max=1_000,
        capabilities=Capabilities(
            input_modalities=["text"],
            output_modalities=["text"],
            tokenizer="GPT",
            supported_parameters=[],
        ),
        endpoints=[
            CatalogEndpoint(
                provider="openai",
                provider_name="OpenAI",
                model="gpt-made-up",
                prices=PRICES,
                context_length_tokens=10_000,
                output_tokens_max=1_000,
            )
        ],
    )


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """The provider."""
    async with running_simulator(CallLog(SystemClock(), id_prefix="t")) as running:
        yield running


def _config(infrastructure: Infrastructure, simulator: Simulator) -> DispatcherConfig:
    url = simulator.url
    return load(
        DispatcherConfig,
        {
            **infrastructure.environment("dispatcher"),
            "PROVIDER_ENDPOINTS": f'{{"openai": "{url}/v1"}}',
            "EGRESS_ALLOW": url.removeprefix("http://"),
            "HEALTH_PORT": "0",
            "DRAIN_SECONDS": "2",
        },
    )


@pytest.fixture
async def world(infrastructure: Infrastructure, simulator: Simulator) -> AsyncIterator[World]:
    """Everything around the dispatcher."""
    kafka = KafkaConfig(bootstrap_servers=infrastructure.kafka)
    stop = asyncio.Event()
    async with AsyncExitStack() as opened:
        producer = await opened.enter_async_context(
            open_producer(kafka, source=InstanceId("test-0"), clock=_CLOCK, new_id=new_id)
        )
        dead_letters = DeadLetters(producer, consumer="test", clock=_CLOCK)
        vaults = [
            await opened.enter_async_context(
                open_vault(load(VaultConfig, infrastructure.environment(service)), _CLOCK)
            )
            for service in ("ingress", "key_vault")
        ]
        world = World(
            producer=producer,
            credentials=View(
                kafka,
                CREDENTIALS_STATE,
                clock=_CLOCK,
                dead_letters=dead_letters,
                removal=CredentialRemoved,
            ),
            ingress_vault=Transit(vaults[0]),
            key_vault=Transit(vaults[1]),
            simulator=simulator,
        )
        data_key = await world.ingress_vault.data_key("wire")
        world.data_key, world.wire_key = data_key.plaintext, data_key.wrapped
        await producer.emit(CATALOG_MODELS, _model(), key=MODEL)
        scope = await opened.enter_async_context(TaskScope())
        readers = await _readers(kafka, world, dead_letters, infrastructure)
        billing = CallServer(
            kafka,
            group=f"billing-test-{new_id()}",
            topic=BILLING_COMMANDS,
            handle=world.authorize,
            producer=producer,
            dead_letters=dead_letters,
            clock=_CLOCK,
        )
        for work in (
            *(reader.run(stop) for reader in readers),
            world.credentials.run(stop),
            billing.run(stop),
            world.beat(),
        ):
            scope.start(work, name="world")
        for ready in (*(reader.ready for reader in readers), world.credentials.ready):
            async with asyncio.timeout(ANSWER_SECONDS):
                await ready.wait()
        yield world
        await world.forget_credentials()
        stop.set()


async def _readers(
    kafka: KafkaConfig, world: World, dead_letters: DeadLetters, infrastructure: Infrastructure
) -> list[PartitionReader]:
    def reader(topic: Topic, partition: int) -> PartitionReader:
        return PartitionReader(
            kafka,
            topic=topic,
            partition=partition,
            start="end",
            on_record=world.on_record,
            dead_letters=dead_letters,
            clock=_CLOCK,
        )

    partitions = infrastructure.stack.options.partitions_max
    return [
        reader(INGRESS_REPLIES, _PARTITION),
        reader(ROUTING_HEALTH, 0),
        *(reader(INFERENCE_GENERATIONS, each) for each in range(partitions)),
        *(reader(ROUTING_FALLBACKS, each) for each in range(partitions)),
    ]


@asynccontextmanager
async def running_dispatcher(config: DispatcherConfig) -> AsyncIterator[Dispatcher]:
    """A dispatcher at work, stopped at the end."""
    stop = asyncio.Event()
    async with (
        open_dispatcher(config, clock=_CLOCK, new_id=new_id) as dispatcher,
        TaskScope() as scope,
    ):
        work = scope.start(dispatcher.run(stop), name="dispatcher")
        await wait_until(
            lambda: work.done() or dispatcher.work.problem() is None,
            deadline_seconds=30,
            otherwise=lambda: str(dispatcher.unready()),
        )
        assert not work.done(), work.exception()
        yield dispatcher
        stop.set()
        await work


@pytest.fixture
def config(infrastructure: Infrastructure, simulator: Simulator) -> DispatcherConfig:
    """As a process would be told."""
    return _config(infrastructure, simulator)


@pytest.fixture
async def dispatcher(
    world: World,  # noqa: ARG001 - its heartbeats must come first
    config: DispatcherConfig,
) -> AsyncIterator[Dispatcher]:
    """One at work in the world."""
    async with running_dispatcher(config) as running:
        yield running


@pytest.fixture
def account() -> AccountId:
    """A new account."""
    return AccountId(new_id())


@pytest.fixture
async def shared_capacity(world: World) -> CredentialId:
    """A platform credential that works."""
    return await world.add_credential("sk-platform", account_id=PLATFORM_ACCOUNT)
