"""Receipts of an account's generations, asked of billing.

A client may ask for a generation whose answer it has just read, before its fact is booked. billing
answers questions in batches and holds none back, so it is asked again until the receipt is there.
"""

import asyncio
from datetime import timedelta
from typing import Final

from services.ingress.domain import refusals
from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.ports import Billing
from services.ingress.use_cases.billing_answers import refusal_of
from shared.clock import Clock
from shared.events.envelope import Refused
from shared.events.receipts import (
    QueryReceipt,
    QueryReceipts,
    Receipt,
    ReceiptFound,
    ReceiptsListed,
)
from shared.ids import GenerationId, started_at

WAIT_SECONDS_MAX: Final = 3.0
"""How long a client waits for a receipt that may still come."""
WAITING_MAX: Final = 200
"""Clients who wait at the same time; whoever comes then is answered at once."""
_ASK_AGAIN_SECONDS_MIN: Final = 0.05
_ASK_AGAIN_SECONDS_MAX: Final = 0.4
_AHEAD_MAX: Final = timedelta(minutes=1)
_POSTING_MAX: Final = timedelta(minutes=1)
_NOT_FOUND: Final = refusals.not_found("there is no generation of this id")


class ReadReceipts:
    """Asks billing; Unavailable passes."""

    def __init__(
        self,
        *,
        billing: Billing,
        clock: Clock,
        generation_seconds_max: float,
        wait_seconds_max: float = WAIT_SECONDS_MAX,
    ) -> None:
        """Whatever began longer ago than a generation may last is not waited for."""
        self._billing = billing
        self._clock = clock
        self._recent = timedelta(seconds=generation_seconds_max) + _POSTING_MAX
        self._wait_seconds_max = wait_seconds_max
        self._waiting = 0

    async def one(self, caller: Caller, generation_id: GenerationId) -> Receipt | Refusal:
        """The receipt of a generation of the caller's account."""
        found = await self._ask(caller, generation_id)
        if found is not _NOT_FOUND or not self._may_come(generation_id):
            return found
        self._waiting += 1
        try:
            return await self._wait(caller, generation_id)
        finally:
            self._waiting -= 1

    async def page(self, query: QueryReceipts) -> ReceiptsListed | Refusal:
        """Some of an account's receipts."""
        reply = await self._billing.ask(query, account_id=query.account_id)
        return reply if isinstance(reply, ReceiptsListed) else refusal_of(reply)

    async def _ask(self, caller: Caller, generation_id: GenerationId) -> Receipt | Refusal:
        query = QueryReceipt(account_id=caller.account_id, generation_id=generation_id)
        match await self._billing.ask(query, account_id=caller.account_id):
            case ReceiptFound(receipt=receipt):
                return receipt
            case Refused(code="not_found"):
                return _NOT_FOUND
            case reply:
                return refusal_of(reply)

    def _may_come(self, generation_id: GenerationId) -> bool:
        age = self._clock.now() - started_at(generation_id)
        return -_AHEAD_MAX < age < self._recent and self._waiting < WAITING_MAX

    async def _wait(self, caller: Caller, generation_id: GenerationId) -> Receipt | Refusal:
        until = self._clock.monotonic() + self._wait_seconds_max
        pause_seconds = _ASK_AGAIN_SECONDS_MIN
        found: Receipt | Refusal = _NOT_FOUND
        while found is _NOT_FOUND and self._clock.monotonic() + pause_seconds < until:
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _ASK_AGAIN_SECONDS_MAX)
            found = await self._ask(caller, generation_id)
        return found
