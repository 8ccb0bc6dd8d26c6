"""Seals a month that is over, once it reconciles: count, sum and a hash that nobody can redo unseen.

The month is hashed, compared with everything else, closed, and hashed again: if that gives the same,
what was compared is what is sealed. Once it is closed, what comes late stands in an open month.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.billing.domain.period import period_of_month
from services.billing.ports.reconciliation import BooksSnapshot, Reconciled, Seal, Seals
from services.billing.use_cases.reconcile import Reconcile, Report
from shared.clock import Clock

OVER_FOR: Final = timedelta(hours=1)
"""After a month's end generations still run that started in it, and clocks differ."""
_ATTEMPTS_MAX: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSealed:
    """Why a month was not sealed, and what was compared if it came to that."""

    reason: str
    report: Report | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The seal, and what was compared for it."""

    seal: Seal
    report: Report


async def seal_month(
    month: str, places: Reconciled, seals: Seals, reconcile: Reconcile, clock: Clock
) -> Sealed | NotSealed:
    """Seal a month, or say why not. ValueError for what is no month; raises Unavailable."""
    period = period_of_month(month)
    if clock.now() < period.end + OVER_FOR:
        return NotSealed(reason=f"{month} is not over, or for less than {OVER_FOR}")
    report: Report | None = None
    for _ in range(_ATTEMPTS_MAX):
        async with places.snapshot() as snapshot:
            refusal = await _refusal(snapshot, month)
            if refusal is not None:
                return NotSealed(reason=refusal)
            before = await _seal(snapshot, month)
        report = await reconcile(period)
        if not report.clean:
            return NotSealed(reason=f"{month} does not reconcile", report=report)
        if report.in_flight["facts"]:
            reason = f"facts of {month} are not booked yet: {report.in_flight['facts']}"
            return NotSealed(reason=reason, report=report)
        await seals.close(month)
        async with places.snapshot() as snapshot:
            after = await _seal(snapshot, month)
        if after == before:
            await seals.store(after)
            return Sealed(seal=after, report=report)
    return NotSealed(reason=f"{month} was written into again and again", report=report)


async def _refusal(snapshot: BooksSnapshot, month: str) -> str | None:
    sealed = [seal.month for seal in await snapshot.seals()]
    if month in sealed:
        return f"{month} is sealed"
    if sealed and sealed[-1] > month:
        return f"{sealed[-1]} is sealed already, which follows {month}"
    first = await snapshot.first_unsealed_month()
    if first is not None and first < month:
        return f"{first} comes first: it has postings and no seal"
    return None


async def _seal(snapshot: BooksSnapshot, month: str) -> Seal:
    """What the seal is, as the month's rows are now."""
    transfer_columns, generation_columns = await snapshot.columns()
    previous = next((seal.sha256 for seal in reversed(await snapshot.seals())), "")
    rows = await snapshot.month_rows(month, (transfer_columns, generation_columns), previous)
    return Seal(
        month=month,
        transfers=rows.transfers,
        generations=rows.generations,
        amount_nano_usd=rows.amount_nano_usd,
        transfer_columns=transfer_columns,
        generation_columns=generation_columns,
        previous_sha256=previous,
        sha256=rows.sha256,
    )
