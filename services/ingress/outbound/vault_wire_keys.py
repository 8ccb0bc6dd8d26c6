"""The data key of this process, made by Vault's Transit, new every hour."""

import asyncio
from typing import Final

from typing_extensions import override

from services.ingress.ports import WireKeys
from shared.clock import Clock
from shared.errors import Unavailable
from shared.telemetry.logging import get_logger
from shared.vault.errors import VaultRefused
from shared.vault.transit import DataKey, Transit

_KEY: Final = "wire"
_RENEWED_AFTER_SECONDS: Final = 3600.0
USED_FOR_SECONDS_MAX: Final = 2 * 3600.0
"""While Vault is away the old key serves on for this long."""
_RETRY_SECONDS: Final = 5.0


class VaultWireKeys(WireKeys):
    """Holds the present key and renews it in time."""

    def __init__(self, transit: Transit, *, clock: Clock) -> None:
        """There is no key before the first `renew`."""
        self._transit = transit
        self._clock = clock
        self._key: DataKey | None = None
        self._made_at = 0.0
        self._logger = get_logger("wire_keys")

    @override
    def current(self) -> DataKey:
        if self._key is None or self._age_seconds() > USED_FOR_SECONDS_MAX:
            raise Unavailable("vault", "there is no data key")
        return self._key

    def problem(self) -> str | None:
        """Why nothing can be sealed, or None."""
        try:
            self.current()
        except Unavailable as error:
            return str(error)
        return None

    async def renew(self) -> None:
        """Have a new key made. Raises Unavailable or VaultRefused; the old one then stays."""
        made_at = self._clock.monotonic()
        self._key = await self._transit.data_key(_KEY)
        self._made_at = made_at

    async def run(self) -> None:
        """Renew every hour until cancelled."""
        while True:
            wait_seconds = _RENEWED_AFTER_SECONDS - self._age_seconds()
            await asyncio.sleep(max(wait_seconds, 0.0) if self._key else 0.0)
            try:
                await self.renew()
            except (Unavailable, VaultRefused) as error:
                self._logger.warning("the data key was not renewed", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    def _age_seconds(self) -> float:
        return self._clock.monotonic() - self._made_at
