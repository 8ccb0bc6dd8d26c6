"""A running simulator, and the official clients that talk to it."""

from collections.abc import AsyncIterator, Callable

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from shared.clock import SystemClock
from tests.simulator.app import Simulator, running_simulator
from tests.simulator.call_log import CallLog

API_VERSION = "2024-08-01-preview"

OpenAIClients = Callable[[str], AsyncOpenAI]
AzureClients = Callable[[str], AsyncAzureOpenAI]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running_simulator(CallLog(SystemClock(), id_prefix="test")) as running:
        yield running


@pytest.fixture
async def openai_client(simulator: Simulator) -> AsyncIterator[OpenAIClients]:
    opened: list[AsyncOpenAI] = []

    def make(api_key: str) -> AsyncOpenAI:
        client = AsyncOpenAI(
            api_key=api_key, base_url=simulator.url + "/v1", max_retries=0, timeout=10
        )
        opened.append(client)
        return client

    yield make
    for client in opened:
        await client.close()


@pytest.fixture
async def azure_client(simulator: Simulator) -> AsyncIterator[AzureClients]:
    opened: list[AsyncAzureOpenAI] = []

    def make(api_key: str) -> AsyncAzureOpenAI:
        client = AsyncAzureOpenAI(
            api_key=api_key,
            azure_endpoint=simulator.url,
            api_version=API_VERSION,
            max_retries=0,
            timeout=10,
        )
        opened.append(client)
        return client

    yield make
    for client in opened:
        await client.close()
