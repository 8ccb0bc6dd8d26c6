"""hvac, which blocks, kept in a few threads of its own.

One client for each thread: `requests` does not promise that a session may be shared.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hvac
import requests  # noqa: TID251 - hvac is built on it

from shared.errors import Unavailable
from shared.vault.config import VaultConfig
from shared.vault.errors import DEPENDENCY, translate


class VaultClient:
    """Runs calls of hvac in a bounded number of threads, each under the deadline."""

    def __init__(self, config: VaultConfig) -> None:
        """Nothing is sent yet."""
        self._config = config
        self._threads = ThreadPoolExecutor(config.threads, thread_name_prefix="vault")
        self._local = threading.local()

    async def call(self, path: str, token: str, work: Callable[[hvac.Client], Any]) -> Any:
        """The JSON that Vault answers to `work`, called with the token given (may be empty).

        `work` must be safe to do twice: it is sent again when a kept connection turns out to be
        closed. Raises VaultForbidden, VaultRefused or Unavailable.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                answer = await loop.run_in_executor(self._threads, self._do, path, token, work)
        except TimeoutError:
            raise Unavailable(DEPENDENCY, "no answer in time") from None
        if not isinstance(answer, dict):  # a redirect, which is not followed, or no JSON
            raise Unavailable(DEPENDENCY, "an answer that is not Vault's")
        return answer

    async def read_secret_id(self) -> str:
        """What the SecretID's file holds now. Raises Unavailable when it cannot be read."""
        loop = asyncio.get_running_loop()
        try:
            content = await loop.run_in_executor(
                self._threads, self._config.secret_id_file.read_text, "utf-8"
            )
        except OSError as error:
            detail = f"VAULT_SECRET_ID_FILE cannot be read: {type(error).__name__}"
            raise Unavailable(DEPENDENCY, detail) from None
        return content.strip()

    def close(self) -> None:
        """Let the threads end; what is under way is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _do(self, path: str, token: str, work: Callable[[hvac.Client], Any]) -> Any:
        client = self._thread_client()
        client.token = token
        with translate(path):
            try:
                return work(client)
            except requests.Timeout:
                raise
            except requests.ConnectionError:
                return work(client)

    def _thread_client(self) -> Any:
        if not hasattr(self._local, "client"):
            session = requests.Session()
            session.trust_env = False  # no proxy and no .netrc between us and Vault
            session.verify = str(self._config.ca_file) if self._config.ca_file else True
            self._local.client = hvac.Client(
                url=self._config.address,
                token="",  # else hvac looks for one in the environment and the home folder
                verify=session.verify,
                timeout=self._config.timeout_seconds,
                allow_redirects=False,
                session=session,
            )
        return self._local.client
