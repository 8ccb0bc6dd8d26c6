"""What billing does by itself: ends holds whose time is over, makes room, forgets what is old."""

import asyncio
from datetime import timedelta
from typing import Final

from services.billing.domain.page import expire
from services.billing.ports.ledger import Ledger, Observer, Transaction
from shared.clock import Clock
from shared.errors import Unavailable
from shared.ids import month_of
from shared.telemetry.logging import get_logger

_ROUND_SECONDS: Final = 1.0
_HOLDS_MAX: Final = 200
_SLOW_ROUND_SECONDS: Final = 3600.0
_MONTH_AHEAD: Final = timedelta(days=3)
_TAKEN_DAYS: Final = 42
"""Longer than facts stay in Kafka (35 days): none of those forgotten can be delivered again."""
_FORGET_ROWS_MAX: Final = 10_000
_MINUTES_HOURS: Final = 24
"""Rate limits look at the minute at hand; a day is for whoever asks why."""


class KeepHouse:
    """Rounds in every process; processes leave each other's accounts alone."""

    def __init__(self, ledger: Ledger, clock: Clock, observer: Observer) -> None:
        """`run` starts the rounds."""
        self._ledger = ledger
        self._clock = clock
        self._observer = observer
        self._logger = get_logger("house")

    async def run(self) -> None:
        """Go round until cancelled."""
        slow_round_due = self._clock.monotonic() + _SLOW_ROUND_SECONDS
        while True:
            try:
                if self._clock.monotonic() >= slow_round_due:
                    await self.open_months()
                    await self.forget_old()
                    slow_round_due = self._clock.monotonic() + _SLOW_ROUND_SECONDS
                await self.expire_holds()
            except Unavailable as error:
                self._logger.warning("house waits", reason=str(error))
            await asyncio.sleep(_ROUND_SECONDS)

    async def open_months(self) -> None:
        """Make room for this month, and for the next one when it is near."""
        now = self._clock.now()
        for month in dict.fromkeys((month_of(now), month_of(now + _MONTH_AHEAD))):
            await self._ledger.open_month(month)

    async def forget_old(self) -> None:
        """Forget which facts were taken in, once none of them can come again, and old minutes."""
        before = self._clock.now() - timedelta(days=_TAKEN_DAYS)
        forgotten = _FORGET_ROWS_MAX
        while forgotten == _FORGET_ROWS_MAX:
            forgotten = await self._ledger.forget_taken(before, rows_max=_FORGET_ROWS_MAX)
        await self._ledger.forget_minutes(self._clock.now() - timedelta(hours=_MINUTES_HOURS))

    async def expire_holds(self) -> int:
        """End every hold past its time and return how many."""
        total = 0
        while True:
            ended = await self._ledger.transact(self._expire_some)
            total += ended
            if ended < _HOLDS_MAX:
                break
        if total:
            self._logger.warning("holds expired", holds=total)
            self._observer.expired(total)
        return total

    async def _expire_some(self, transaction: Transaction) -> int:
        page, holds = await transaction.read_expired(self._clock.now(), holds_max=_HOLDS_MAX)
        if holds:
            expire(page, holds)
            await transaction.store(page)
        return len(holds)
