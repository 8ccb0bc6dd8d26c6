"""A login at Vault that is kept alive: AppRole, renewed at half its life, replaced when it ends."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import hvac

from shared.clock import Clock
from shared.errors import Unavailable
from shared.tasks import TaskScope
from shared.telemetry.logging import get_logger
from shared.vault.client import VaultClient
from shared.vault.config import VaultConfig
from shared.vault.errors import DEPENDENCY, VaultForbidden, VaultRefused

_LOGIN_PATH: Final = "auth/approle/login"
_RENEW_PATH: Final = "auth/token/renew-self"
_PROBE_SECONDS: Final = 1.0
_JITTER: Final = 0.1  # processes that started together do not renew together
_JITTER_STEPS: Final = 1000
_WAIT_MAX_SECONDS: Final = 6 * 3600.0
_SHRUNK: Final = 0.5  # a renewal that gives less than this of the first term nears the last one


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    text: str = field(repr=False)
    term_seconds: float
    expires_at: float  # on the clock's monotonic scale
    is_renewable: bool


class VaultSession:
    """Calls Vault as this service. Made by `open_vault`."""

    def __init__(self, client: VaultClient, config: VaultConfig, clock: Clock) -> None:
        """Not logged in yet."""
        self._client = client
        self._role_id = config.role_id
        self._clock = clock
        self._token: _Token | None = None
        self._login = asyncio.Lock()
        self._checking = asyncio.Lock()
        self._failing: str | None = None
        self._attention = asyncio.Event()
        self._logger = get_logger("vault")

    def healthy(self) -> str | None:
        """None, or why Vault cannot be used now; from memory, so that it can be asked often."""
        if self._failing is not None:
            return self._failing
        if self._token is None or self._clock.monotonic() >= self._token.expires_at:
            return "not logged in"
        return None

    async def call(self, path: str, work: Callable[[hvac.Client], Any]) -> Any:
        """The JSON that Vault answers to `work`, which must be safe to do twice.

        An expired or revoked token is replaced once. Raises VaultRefused when Vault says no and
        Unavailable("vault") when it does not answer in time.
        """
        token = await self._current_token()
        try:
            return await self._watched(path, token, work)
        except VaultForbidden:
            fresh = await self._replaced(token)
            if fresh is None:
                raise
        return await self._watched(path, fresh, work)

    async def start(self) -> None:
        """Log in for the first time. Raises VaultRefused or Unavailable."""
        await self._current_token()

    async def keep_alive(self) -> None:
        """Renew the token in time, and ask Vault again while it does not answer; until cancelled."""
        while True:
            await self._rest()
            try:
                await self._renew()
            except (Unavailable, VaultRefused) as error:
                self._note(str(error))

    async def _rest(self) -> None:
        """Wait until something is to be done: half the token's life, less when Vault is failing."""
        if self._failing is None:
            try:
                async with asyncio.timeout(self._seconds_to_renewal()):
                    await self._attention.wait()
            except TimeoutError:
                return
        await asyncio.sleep(_PROBE_SECONDS)

    def _seconds_to_renewal(self) -> float:
        if self._token is None:
            return _PROBE_SECONDS
        jitter = (secrets.randbelow(2 * _JITTER_STEPS) / _JITTER_STEPS - 1) * _JITTER
        elapsed = self._token.term_seconds - (self._token.expires_at - self._clock.monotonic())
        wanted = self._token.term_seconds / 2 * (1 + jitter) - elapsed
        return min(max(wanted, 0.0), _WAIT_MAX_SECONDS)

    async def _renew(self) -> None:
        token = await self._current_token()
        if not await self._is_renewed(token):
            _ = await self._replace(token)

    async def _is_renewed(self, token: _Token) -> bool:
        """Renew a token; False when it must be replaced instead."""
        if not token.is_renewable:
            return False
        try:
            answer = await self._watched(
                _RENEW_PATH, token, lambda client: client.auth.token.renew_self()
            )
        except VaultForbidden:
            return False
        renewed = self._token_of(answer)
        if renewed.term_seconds < token.term_seconds * _SHRUNK:
            return False
        if self._token is not None and self._token.text == token.text:
            self._token = renewed
        return True

    async def _current_token(self) -> _Token:
        token = self._token
        if token is not None and self._clock.monotonic() < token.expires_at:
            return token
        return await self._replace(token)

    async def _replaced(self, token: _Token) -> _Token | None:
        """A fresh token when the refused one is no longer good; None when it is."""
        async with self._checking:
            if self._token is None or self._token.text != token.text:
                return await self._current_token()
            # Renewing tells whether it is good, and is all that a role may do with its token.
            return None if await self._is_renewed(token) else await self._replace(token)

    async def _replace(self, stale: _Token | None) -> _Token:
        """Log in, unless another caller has done it while we waited."""
        async with self._login:
            # A renewal in between keeps the token's text.
            if self._token is not None and (stale is None or self._token.text != stale.text):
                return self._token
            secret_id = await self._client.read_secret_id()
            answer = await self._watched(
                _LOGIN_PATH,
                None,
                lambda client: client.auth.approle.login(
                    role_id=self._role_id, secret_id=secret_id, use_token=False
                ),
            )
            self._token = self._token_of(answer)
            self._logger.info("logged in to vault", term_seconds=self._token.term_seconds)
            return self._token

    async def _watched(
        self, path: str, token: _Token | None, work: Callable[[hvac.Client], Any]
    ) -> Any:
        """Call Vault and remember whether it answered."""
        try:
            answer = await self._client.call(path, token.text if token else "", work)
        except Unavailable as error:
            self._note(str(error))
            raise
        except VaultRefused as error:
            self._note(str(error) if path == _LOGIN_PATH else None)
            raise
        self._note(None)
        return answer

    def _note(self, failure: str | None) -> None:
        if (failure is None) != (self._failing is None):
            if failure is None:
                self._logger.info("vault answers again")
            else:
                self._logger.warning("vault fails", reason=failure)
        self._failing = failure
        if failure is None:
            self._attention.clear()
        else:
            self._attention.set()

    def _token_of(self, answer: Any) -> _Token:
        auth = answer["auth"]
        # A term of 0 means that it never ends; a day is then often enough.
        term_seconds = float(auth["lease_duration"]) or 86_400.0
        return _Token(
            text=auth["client_token"],
            term_seconds=term_seconds,
            expires_at=self._clock.monotonic() + term_seconds,
            is_renewable=bool(auth["renewable"]),
        )


@asynccontextmanager
async def open_vault(config: VaultConfig, clock: Clock) -> AsyncIterator[VaultSession]:
    """A session that is logged in and stays so while the block runs.

    Waits up to `start_wait_seconds` for a Vault that is still starting or sealed, then raises
    Unavailable; raises VaultRefused when it does not accept the role.
    """
    client = VaultClient(config)
    try:
        session = VaultSession(client, config, clock)
        await _start(session, config.start_wait_seconds)
        async with TaskScope() as scope:
            _ = scope.start(session.keep_alive(), name="vault token")
            yield session
    finally:
        client.close()


async def _start(session: VaultSession, wait_seconds: float) -> None:
    try:
        async with asyncio.timeout(wait_seconds):
            while True:
                try:
                    await session.start()
                except Unavailable:
                    await asyncio.sleep(_PROBE_SECONDS)
                else:
                    return
    except TimeoutError:
        raise Unavailable(DEPENDENCY, f"no login within {wait_seconds:g} s") from None
