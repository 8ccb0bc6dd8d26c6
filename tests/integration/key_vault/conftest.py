"""key_vault as a process of its own, on real servers."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from deploy.local.places import REPOSITORY
from tests.conftest import Infrastructure
from tests.integration.key_vault.catalog import publish_models
from tests.integration.key_vault.client import Client, open_client

_START_SECONDS = 30.0
_STOP_SECONDS = 20.0


class KeyVaultProcess:
    """`python -m services.key_vault`; its log lies among the stack's."""

    def __init__(self, infrastructure: Infrastructure) -> None:
        self._environment = dict(infrastructure.environment("key_vault"))
        self.log: Path = infrastructure.stack.places.log("key_vault")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.key_vault"],
                cwd=REPOSITORY,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while self.readiness()[0] != 200:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.readiness()
            time.sleep(0.1)

    def readiness(self) -> tuple[int, str]:
        return self._get("/readyz")

    def metrics(self) -> str:
        return self._get("/metrics")[1]

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=_STOP_SECONDS)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=_STOP_SECONDS)

    def _get(self, path: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", int(self._environment["HEALTH_PORT"]), timeout=2)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def key_vault(infrastructure: Infrastructure) -> Iterator[KeyVaultProcess]:
    publish_models(infrastructure)
    process = KeyVaultProcess(infrastructure)
    process.start()
    try:
        yield process
    finally:
        assert process.stop() == 0


@pytest.fixture
async def client(
    infrastructure: Infrastructure,
    key_vault: KeyVaultProcess,  # noqa: ARG001 - it must run
) -> AsyncIterator[Client]:
    async with open_client(infrastructure) as opened:
        yield opened
