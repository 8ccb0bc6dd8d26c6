"""Answers questions about what was used and paid. They change nothing and lock nothing."""

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Final

from services.billing.ports.read_side import ReadSide
from shared.clock import Clock
from shared.errors import PoisonRecord
from shared.events.envelope import CallReply, Event, Refused
from shared.events.receipts import (
    ActivityListed,
    QueryActivity,
    QueryCredits,
    QueryReceipt,
    QueryReceipts,
    ReceiptFound,
    ReceiptsListed,
)
from shared.kafka.calls import ReceivedCall
from shared.telemetry.logging import Journal, unit_of_work

RECEIPTS_MAX: Final = 500
"""Receipts in one answer."""
ACTIVITY_ROWS_MAX: Final = 10_000
"""Rows in one answer; what has more must be asked for in parts."""
DAYS_MAX: Final = 400
_AT_ONCE_MAX: Final = 2
"""Questions that are read for at the same time, so that connections are left to the books."""


class AnswerQueries:
    """Takes batches of `billing.queries`."""

    def __init__(self, reads: ReadSide, clock: Clock) -> None:
        """`reads` is asked outside any transaction of the books."""
        self._reads = reads
        self._clock = clock
        self._slots = asyncio.Semaphore(_AT_ONCE_MAX)
        self._journal = Journal("queries")

    async def __call__(self, calls: Sequence[ReceivedCall]) -> Sequence[CallReply]:
        """The answer to each call. Raises Unavailable; every question may then come again."""
        with unit_of_work(self._journal, "queries answered", self._clock, calls=len(calls)):
            return await asyncio.gather(*[self._answer(call.command) for call in calls])

    async def _answer(self, query: Event) -> CallReply:
        async with self._slots:
            try:
                return await self._read(query)
            except PoisonRecord as error:
                return Refused(code="invalid", message=error.reason)

    async def _read(self, query: Event) -> CallReply:
        match query:
            case QueryReceipt():
                receipt = await self._reads.receipt(query.account_id, query.generation_id)
                if receipt is None:
                    return Refused(code="not_found", message="there is no such generation")
                return ReceiptFound(receipt=receipt)
            case QueryReceipts():
                return _wrong_days(query.first_day, query.last_day) or await self._receipts(query)
            case QueryActivity():
                return _wrong_days(query.first_day, query.last_day) or await self._activity(query)
            case QueryCredits():
                return await self._reads.credits(query.account_id)
            case _:
                return Refused(code="invalid", message="billing does not know this question")

    async def _receipts(self, query: QueryReceipts) -> CallReply:
        if not 1 <= query.limit <= RECEIPTS_MAX:
            return Refused(
                code="invalid", message=f"must be between 1 and {RECEIPTS_MAX}", field="limit"
            )
        # one more than asked for tells whether anything follows
        found = await self._reads.receipts(query, rows_max=query.limit + 1)
        return ReceiptsListed(
            receipts=tuple(found[: query.limit]), is_last=len(found) <= query.limit
        )

    async def _activity(self, query: QueryActivity) -> CallReply:
        rows = await self._reads.activity(query, rows_max=ACTIVITY_ROWS_MAX + 1)
        if len(rows) > ACTIVITY_ROWS_MAX:
            message = f"these are more than {ACTIVITY_ROWS_MAX} rows; ask for fewer days at once"
            return Refused(code="too_many", message=message)
        return ActivityListed(rows=tuple(rows))


def _wrong_days(first_day: date, last_day: date) -> Refused | None:
    if first_day > last_day:
        return Refused(code="invalid", message="must not be before the first day", field="to")
    if (last_day - first_day).days >= DAYS_MAX:
        return Refused(code="invalid", message=f"must be within {DAYS_MAX} days", field="to")
    return None
