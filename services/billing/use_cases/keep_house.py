"""What billing does by itself: ends holds whose time is over, makes room, forgets what is past."""

import asyncio
from datetime import timedelta
from typing import Final

from services.billing.domain.page import expire
from services.billing.ports.ledger import Ledger, Observer, Transaction
from services.billing.ports.upkeep import Upkeep
from shared.clock import Clock
from shared.errors import Unavailable
from shared.ids import month_of
from shared.telemetry.logging import get_logger

_ROUND_SECONDS: Final = 1.0
_HOLDS_MAX: Final = 200
_SLOW_ROUND_SECONDS: Final = 3600.0
_MONTH_AHEAD: Final = timedelta(days=3)
FACTS_KEPT: Final = timedelta(days=42)
"""Longer than facts stay in Kafka (35 days): none of those forgotten can be delivered again."""
HOLDS_KEPT: Final = FACTS_KEPT
"""A late fact is priced by its hold. The database keeps them for as long, and until their month is sealed."""
DELETED_KEYS_KEPT: Final = FACTS_KEPT
"""A late fact still counts for its key."""
REFUSALS_KEPT: Final = timedelta(days=1)
"""Commands come again within minutes; a day, which the database insists on, is for whoever asks why."""
SECONDS_KEPT: Final = timedelta(hours=1)
"""Rate limits look at the last minute; an hour is for whoever asks why."""
ROWS_MAX: Final = 1_000
"""Of each kind in one transaction and round, so that nobody waits for it noticeably."""
MANY_MAX: Final = 10_000
"""The same of facts and seconds, which are many; no trigger looks at them."""
KEYS_MAX: Final = 20
"""Each has a row for every day of its use, and their accounts wait."""


class KeepHouse:
    """Rounds in every process; processes leave each other's accounts and rows alone."""

    def __init__(self, ledger: Ledger, upkeep: Upkeep, clock: Clock, observer: Observer) -> None:
        """`run` starts the rounds."""
        self._ledger = ledger
        self._upkeep = upkeep
        self._clock = clock
        self._observer = observer
        self._logger = get_logger("house")

    async def run(self) -> None:
        """Go round until cancelled."""
        slow_round_due = forgetting_due = self._clock.monotonic()
        while True:
            try:
                if self._clock.monotonic() >= slow_round_due:
                    await self.open_months()
                    slow_round_due = self._clock.monotonic() + _SLOW_ROUND_SECONDS
                await self.expire_holds()
                if self._clock.monotonic() >= forgetting_due and not await self.forget_some():
                    forgetting_due = self._clock.monotonic() + _SLOW_ROUND_SECONDS
            except Unavailable as error:
                self._logger.warning("house waits", reason=str(error))
            await asyncio.sleep(_ROUND_SECONDS)

    async def open_months(self) -> None:
        """Make room for this month, and for the next one when it is near."""
        now = self._clock.now()
        for month in dict.fromkeys((month_of(now), month_of(now + _MONTH_AHEAD))):
            await self._ledger.open_month(month)

    async def forget_some(self) -> bool:
        """Forget some of everything that is past; False when no more of it was found."""
        now, upkeep = self._clock.now(), self._upkeep
        forgotten = {
            "taken": await upkeep.forget_taken(now - FACTS_KEPT, rows_max=MANY_MAX),
            "seconds": await upkeep.forget_seconds(now - SECONDS_KEPT, rows_max=MANY_MAX),
            "refusals": await upkeep.forget_refusals(REFUSALS_KEPT, rows_max=ROWS_MAX),
            "holds": await upkeep.forget_holds(HOLDS_KEPT, rows_max=ROWS_MAX),
            "keys": await upkeep.forget_deleted_keys(DELETED_KEYS_KEPT, keys_max=KEYS_MAX),
        }
        if any(forgotten.values()):
            self._logger.info("forgot what is past", **forgotten)
        most = {"taken": MANY_MAX, "seconds": MANY_MAX, "keys": KEYS_MAX}
        return any(rows == most.get(name, ROWS_MAX) for name, rows in forgotten.items())

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
