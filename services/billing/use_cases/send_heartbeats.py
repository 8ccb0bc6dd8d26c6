"""Tells readers of `billing.accounts` that billing is at work, as long as it is."""

import asyncio
from collections.abc import Callable
from typing import Final

from services.billing.ports.ledger import Heartbeats, Ledger, Observer
from shared.errors import Unavailable
from shared.telemetry.logging import get_logger

_PAUSE_SECONDS: Final = 2.0


class SendHeartbeats:
    """Only while PostgreSQL answers and facts are booked: silence makes views stale."""

    def __init__(
        self,
        ledger: Ledger,
        heartbeats: Heartbeats,
        observer: Observer,
        *,
        lag_seconds: Callable[[], float],
        problem: Callable[[], str | None],
    ) -> None:
        """`problem` says why facts are not being booked, or None."""
        self._ledger = ledger
        self._heartbeats = heartbeats
        self._observer = observer
        self._lag_seconds = lag_seconds
        self._problem = problem
        self._silent_because: str | None = "has not started"
        self._logger = get_logger("heartbeats")

    def silence(self) -> str | None:
        """Why the last heartbeat was left out, or None."""
        return self._silent_because

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            before = self._silent_because
            try:
                await self.beat()
            except Unavailable as error:
                self._silent_because = str(error)
            if self._silent_because != before and before is None:
                self._logger.warning("heartbeats pause", reason=self._silent_because)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def beat(self) -> None:
        """Send one heartbeat, or note why not."""
        lag_seconds = self._lag_seconds()
        self._observer.state(
            open_holds=await self._ledger.count_open_holds(), lag_seconds=lag_seconds
        )
        self._silent_because = self._problem()
        if self._silent_because is None:
            await self._heartbeats.send(lag_seconds)
