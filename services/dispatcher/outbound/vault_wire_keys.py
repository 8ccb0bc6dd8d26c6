"""Data keys of contents, unwrapped with the Transit key `wire`."""

from collections.abc import Coroutine
from typing import Any, Final

from services.dispatcher.outbound.single_flight import SingleFlightCache
from shared.clock import Clock
from shared.errors import Unavailable
from shared.sealing import DATA_KEY_BYTES
from shared.tasks import TaskScope
from shared.vault.errors import DEPENDENCY, VaultForbidden, VaultRefused
from shared.vault.transit import Transit

WIRE_KEY: Final = "wire"
KEPT_SECONDS: Final = 2 * 3600.0
"""An ingress makes a new data key every hour; a request lives for minutes."""
KEPT_MAX: Final = 1_024


class VaultWireKeys:
    """Unwraps each data key once."""

    def __init__(self, transit: Transit, *, clock: Clock, scope: TaskScope) -> None:
        """Nothing is unwrapped yet."""
        self._transit = transit
        self._keys: SingleFlightCache[str, str, bytes | None] = SingleFlightCache(
            self._unwrap, seconds_max=KEPT_SECONDS, entries_max=KEPT_MAX, clock=clock, scope=scope
        )

    def unwrap(self, wrapped: str) -> Coroutine[Any, Any, bytes | None]:
        """The data key, or None for what Vault cannot unwrap any more; Unavailable("vault")."""
        return self._keys.get(wrapped, wrapped)

    async def _unwrap(self, wrapped: str) -> bytes | None:
        try:
            key = await self._transit.decrypt(WIRE_KEY, wrapped, context=None)
        except VaultForbidden as error:
            raise Unavailable(DEPENDENCY, "may not unwrap data keys") from error
        except VaultRefused:
            return None
        return key if len(key) == DATA_KEY_BYTES else None
