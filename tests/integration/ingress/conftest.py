"""Ingress on the session's real servers, wired as in production, with played neighbours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from services.ingress.config import IngressConfig, OperationsConfig
from services.ingress.operations import accounts
from services.ingress.operations.connections import open_connections
from services.ingress.process import Ingress
from services.ingress.wiring import open_ingress
from shared.clock import SystemClock
from shared.config.environment import load
from shared.events.catalog import Capabilities, CatalogEndpoint, ModelListed
from shared.events.topics import CATALOG_MODELS
from shared.events.usage import Prices
from shared.ids import AccountId, new_id
from shared.kafka.config import KafkaConfig
from shared.tasks import TaskScope
from shared.vault.config import VaultConfig
from shared.vault.session import open_vault
from shared.vault.transit import Transit
from tests.conftest import Infrastructure
from tests.integration.ingress.scripted_dispatcher import (
    Books,
    ScriptedDispatcher,
    surroundings,
)
from tests.support.wait_until import wait_until

MODEL = "openai/gpt-4o"
EMBEDDING = "openai/text-embedding-3-small"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need the real servers, and share one loop a module."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.connected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account made by the operators' command."""

    account_id: AccountId
    api_key: str
    management_key: str

    @property
    def headers(self) -> dict[str, str]:
        """What a client sends."""
        return {"Authorization": f"Bearer {self.api_key}"}

    @property
    def management_headers(self) -> dict[str, str]:
        """What an administrator sends."""
        return {"Authorization": f"Bearer {self.management_key}"}


@dataclass(slots=True, kw_only=True)
class World:
    """Everything that a test works with."""

    ingress: Ingress
    dispatcher: ScriptedDispatcher
    books: Books
    http: aiohttp.ClientSession
    account: Account
    config: IngressConfig
    operations: OperationsConfig

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.ingress.port}/api/v1"


@asynccontextmanager
async def running(config: IngressConfig) -> AsyncIterator[tuple[Ingress, asyncio.Event]]:
    """An ingress process that serves."""
    stop = asyncio.Event()
    async with (
        open_ingress(config, clock=SystemClock(), new_id=new_id) as ingress,
        TaskScope() as scope,
    ):
        process = scope.start(ingress.run(stop), name="ingress")
        await wait_until(
            lambda: process.done() or (ingress.port is not None and not ingress.waiting.problem()),
            deadline_seconds=30,
        )
        if process.done():
            process.result()
        yield ingress, stop
        stop.set()
        await process


async def make_account(operations: OperationsConfig, name: str = "test") -> Account:
    """An account, as `make account` makes it."""
    async with open_connections(operations) as connections:
        outcome = await accounts.create(connections, name=name)
    assert outcome.warning is None
    return Account(**outcome.printed)


@pytest.fixture(scope="session")
def ingress_config(infrastructure: Infrastructure) -> IngressConfig:
    """As the stack configures it, on free ports."""
    environment = dict(infrastructure.environment("ingress"))
    environment.update(HTTP_PORT="0", HEALTH_PORT="0", SSE_HEADERS_AFTER_SECONDS="2")
    config = load(IngressConfig, environment)
    return replace(config, account_in_flight_max=8)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    infrastructure: Infrastructure, ingress_config: IngressConfig
) -> AsyncIterator[World]:
    """Ingress and its neighbours, at work for one module of tests."""
    config = ingress_config
    operations = OperationsConfig(kafka=config.kafka, postgres=config.postgres, vault=config.vault)
    kafka = KafkaConfig(bootstrap_servers=infrastructure.kafka)
    dispatcher_vault = load(VaultConfig, infrastructure.environment("dispatcher"))
    async with (
        open_vault(dispatcher_vault, SystemClock()) as vault,
        surroundings(kafka, Transit(vault)) as (dispatcher, books),
        aiohttp.ClientSession() as http,
    ):
        for model in (listed(MODEL), embedding(EMBEDDING)):
            await dispatcher.producer.emit(CATALOG_MODELS, model, key=model.slug)
        account = await make_account(operations)
        async with running(config) as (ingress, _):
            yield World(
                ingress=ingress,
                dispatcher=dispatcher,
                books=books,
                http=http,
                account=account,
                config=config,
                operations=operations,
            )


def listed(slug: str) -> ModelListed:
    """A model of the catalog."""
    return ModelListed(
        version=2**40,
        slug=slug,
        name="GPT-4o",
        created=1_715_367_049,
        description="A model.",
        context_length_tokens=128_000,
        output_tokens_max=16_384,
        capabilities=Capabilities(
            input_modalities=["text", "image"],
            output_modalities=["text"],
            tokenizer="GPT",
            supported_parameters=["temperature"],
        ),
        endpoints=[
            CatalogEndpoint(
                provider=provider,
                provider_name=name,
                model="gpt-4o",
                prices=Prices(prompt=2_500_000, completion=10_000_000, input_cache_read=1_250_000),
                context_length_tokens=128_000,
                output_tokens_max=16_384,
            )
            for provider, name in (("openai", "OpenAI"), ("azure", "Azure"))
        ],
    )


def embedding(slug: str) -> ModelListed:
    """A model that embeds and does not chat."""
    like = listed(slug)
    return msgspec.structs.replace(
        like,
        output_tokens_max=0,
        capabilities=Capabilities(
            input_modalities=["text"],
            output_modalities=["embeddings"],
            tokenizer="GPT",
            supported_parameters=["dimensions"],
        ),
        endpoints=[
            msgspec.structs.replace(
                like.endpoints[0], prices=Prices(prompt=20_000, completion=0), output_tokens_max=0
            )
        ],
    )
