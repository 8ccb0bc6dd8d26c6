"""What every test may use. Servers are real: one infrastructure a session, started here.

A test that asks for `infrastructure` and cannot have it fails; nothing is skipped.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

from deploy.local.options import Options
from deploy.local.stack import Stack, Stage
from deploy.product import Product
from shared.telemetry.logging import forget_logging
from tests.support.credit_secrets import INGRESS_SETTINGS

_REQUEST_SECONDS_MAX = 60
# chosen with --hypothesis-profile; 100 examples without it
settings.register_profile("thorough", max_examples=10_000)


@pytest.fixture(autouse=True)
def _no_blocking_call_on_the_loop() -> Iterator[None]:
    """A blocking call inside a running loop fails the test that made it."""
    with blockbuster_ctx(["services", "shared"]) as blockbuster:
        _allow(blockbuster)
        yield


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A program that a test runs in this process sets up logs that end with its captured output."""
    yield
    forget_logging()


def _allow(blockbuster: BlockBuster) -> None:
    # reading /proc does not wait for a device
    for name in ("io.BufferedReader.read", "io.TextIOWrapper.read", "os.stat"):
        blockbuster.functions[name].can_block_in("shared/telemetry/metrics.py", {"collect"})
    # asyncpg looks for the user's certificates and password file when it connects
    for name in ("os.path.abspath", "os.stat"):
        blockbuster.functions[name].can_block_in(
            "asyncpg/connect_utils.py", {"_parse_connect_dsn_and_args"}
        )


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """Kafka with all topics, OpenBao with its roles, PostgreSQL with its users; no services."""

    stack: Stack

    @property
    def kafka(self) -> str:
        """Bootstrap servers."""
        return str(self.stack.manifest["kafka"])

    @property
    def vault(self) -> str:
        """The address of OpenBao."""
        return str(self.stack.manifest["vault"])

    def postgres_url(self, service: str) -> str:
        """The URL of a service's own database user."""
        return str(self.stack.manifest["postgres"][service])

    def environment(self, service: str) -> Mapping[str, str]:
        """What a process of the service would be told."""
        return self.stack.service_environment(service)


@pytest.fixture(scope="session")
def infrastructure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infrastructure]:
    """Real servers for the whole session, on free ports, beside any other stack."""
    root: Path = tmp_path_factory.mktemp("infrastructure")
    stack = Stack(Options(root=root))
    stack.up(until=Stage.TOPICS)
    try:
        yield Infrastructure(stack)
    finally:
        stack.clean()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole product with the provider simulator, once for all tests that use it as users do."""
    root = tmp_path_factory.mktemp("stack")
    stack = Stack(Options(root=root, settings={"ingress": INGRESS_SETTINGS}))
    stack.up()
    try:
        yield stack
    finally:
        stack.clean()


@pytest.fixture
async def product(stack: Stack) -> AsyncIterator[Product]:
    """The product with a client of its own."""
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Product(stack, session)
