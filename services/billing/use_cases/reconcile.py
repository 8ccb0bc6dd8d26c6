"""Compares Kafka and the books both ways: facts, ledger, holds, what was told, published state.

Works while billing does. Offsets are read before and after the snapshot of the books: what the
facts' group had committed before must be booked in it, what stands in Kafka after it explains it;
what lies between has not had the time to agree, and is counted as in flight.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from services.billing.domain.dead_letter import Acknowledgement, DeadLetter, acknowledgement_of
from services.billing.domain.difference import Difference, DifferenceKind
from services.billing.domain.evidence import Abandoned, Booked, Evidence, Finished, Moved, Told
from services.billing.domain.ledger import LedgerAccount
from services.billing.domain.period import CLOCKS_APART, Period
from services.billing.domain.reconcile_others import reconcile
from services.billing.domain.reconciled import Sight
from services.billing.ports.ledger import Books
from services.billing.ports.reconciliation import (
    Begins,
    BooksSnapshot,
    Ends,
    Reconciled,
    Row,
    Starts,
)
from shared.clock import Clock
from shared.events.topic import Topic
from shared.events.topics import BILLING_FEES, INFERENCE_GENERATIONS

_PROGRESS_SECONDS: Final = 5.0
_MS_A_SECOND: Final = 1_000
Tell = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Report:
    """What was compared, and how much of it differs.

    `facts_since`: Kafka has dropped older facts, so that postings of generations that started before
    could only be compared with the ledger; None when it has all of the period. `offsets` of each
    partition of the facts: read from, committed by billing, read to. `dead_letters` are all that
    stand in Kafka, whatever the period; what was not acknowledged of them may be missing money.
    """

    period: Period
    looked_at: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    in_flight: Counter[str] = field(default_factory=Counter)
    facts_since: datetime | None = None
    dead_letters: int = 0
    dead_letters_acknowledged: int = 0
    sealed_months: int = 0
    offsets: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing differs, and somebody has looked at each dead letter."""
        return not self.differences and self.dead_letters == self.dead_letters_acknowledged

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "clean": self.clean,
            "from": self.period.begin.isoformat(),
            "to": self.period.end.isoformat(),
            "differences": sum(self.differences.values()),
            "by_kind": dict(sorted(self.differences.items())),
            "in_flight": {name: self.in_flight[name] for name in ("facts", "events", "states")},
            "dead_letters": self.dead_letters,
            "dead_letters_acknowledged": self.dead_letters_acknowledged,
            "facts_since": None if self.facts_since is None else self.facts_since.isoformat(),
            **{name: self.looked_at[name] for name in dict.fromkeys(_LOOKED_AT.values())},
            "sealed_months": self.sealed_months,
            "offsets": {
                str(partition): {"from": begin, "committed": committed, "to": end}
                for partition, (begin, committed, end) in sorted(self.offsets.items())
            },
            "seconds": round(self.seconds, 3),
        }


_LOOKED_AT: Final[dict[type[Evidence], str]] = {
    Finished: "facts",
    Abandoned: "facts",
    Booked: "generations",
    Moved: "transfers",
    Told: "fee_events",
}


class Reconcile:
    """Compares everything about the generations that started in a period."""

    def __init__(self, places: Reconciled, clock: Clock, *, tell: Tell, progress: Tell) -> None:
        """`tell` hears each difference and each dead letter, `progress` how far it is."""
        self._places = places
        self._clock = clock
        self._tell = tell
        self._progress = progress
        self._next_progress = 0.0

    async def __call__(self, period: Period) -> Report:
        """Compare. Raises Unavailable when Kafka or PostgreSQL does not answer."""
        began = self._clock.monotonic()
        self._next_progress = began + _PROGRESS_SECONDS
        report, history = Report(period=period), self._places.history
        async with self._places.gathering() as gathering:
            starts = await history.starts(period)
            async with self._places.snapshot() as snapshot:
                at = snapshot.at
                self._check_books(report, await snapshot.books())
                await self._check_seals(report, snapshot)
                acknowledgements = await snapshot.acknowledgements()
                async for rows in snapshot.rows(period, starts.facts):
                    self._count(report, rows)
                    await gathering.add(rows)
            ends = await history.ends()
            letters = await history.dead_letters(ends)
            self._tell_letters(report, letters, acknowledgements)
            dead = _facts_among(letters)
            for batches in (
                history.facts(starts, ends, period, dead),
                history.fees(starts, ends, period),
                history.states(starts, ends),
            ):
                async for rows in batches:
                    self._count(report, rows)
                    await gathering.add(rows)
            sight = _sight(period, starts, await history.begins(), at)
            if sight.facts_from > period.begin.timestamp():
                report.facts_since = datetime.fromtimestamp(sight.facts_from, UTC)
            await self._compare(report, gathering.groups(), sight)
        report.offsets = _ranges(starts, ends)
        report.seconds = self._clock.monotonic() - began
        return report

    async def _compare(
        self, report: Report, groups: AsyncIterator[tuple[str, list[Evidence]]], sight: Sight
    ) -> None:
        async for key, evidence in groups:
            found = reconcile(key, evidence, sight)
            report.in_flight.update(found.in_flight)
            report.looked_at["compared"] += 1
            for difference in found.differences:
                self._differ(report, difference)
            self._say(report)

    def _tell_letters(
        self,
        report: Report,
        letters: Sequence[DeadLetter],
        acknowledgements: Sequence[Acknowledgement],
    ) -> None:
        for letter in letters:
            decided = acknowledgement_of(letter, acknowledgements)
            report.dead_letters += 1
            report.dead_letters_acknowledged += decided is not None
            self._tell(f"dead-letter: {letter}{'' if decided is None else f' ({decided})'}")

    def _check_books(self, report: Report, books: Books) -> None:
        clearing = books.balances.get(LedgerAccount.CLEARING, 0)
        for what, kept in (
            ("sum of all balances", sum(books.balances.values())),
            ("clearing account", clearing),
            ("holds open with an ending, or closed without one", books.wrong_holds),
            ("payments of which not what was reported went back", books.wrong_payments),
        ):
            if kept:
                self._differ(report, _difference("ledger", what, kept, 0, _UNBALANCED))
        for account in books.wrong_accounts:
            for what, (kept, replayed) in account.differences.items():
                subject = f"account {account.account_id}"
                self._differ(report, _difference(subject, what, kept, replayed, _COUNTER))

    async def _check_seals(self, report: Report, snapshot: BooksSnapshot) -> None:
        previous = ""
        for seal in await snapshot.seals():
            report.sealed_months += 1
            self._progress(f"month {seal.month}: hashed anew")
            columns = (seal.transfer_columns, seal.generation_columns)
            rows = await snapshot.month_rows(seal.month, columns, seal.previous_sha256)
            for what, kept, sealed in (
                ("seal of the month before", seal.previous_sha256, previous),
                ("transfers", rows.transfers, seal.transfers),
                ("generations", rows.generations, seal.generations),
                ("sum", rows.amount_nano_usd, seal.amount_nano_usd),
                ("hash", rows.sha256, seal.sha256),
            ):
                if kept != sealed:
                    subject = f"month {seal.month}"
                    self._differ(report, _difference(subject, what, kept, sealed, _SEAL))
            previous = seal.sha256

    def _differ(self, report: Report, difference: Difference) -> None:
        report.differences[difference.kind] += 1
        self._tell(str(difference))

    def _count(self, report: Report, rows: Sequence[Row]) -> None:
        for _, evidence in rows:
            name = _LOOKED_AT.get(type(evidence))
            if name is not None:
                report.looked_at[name] += 1
        self._say(report)

    def _say(self, report: Report) -> None:
        now = self._clock.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + _PROGRESS_SECONDS
            self._progress(", ".join(f"{each}: {n}" for each, n in report.looked_at.items()))


_UNBALANCED: Final = DifferenceKind.UNBALANCED
_COUNTER: Final = DifferenceKind.WRONG_COUNTER
_SEAL: Final = DifferenceKind.BROKEN_SEAL


def _facts_among(letters: Sequence[DeadLetter]) -> set[tuple[int, int]]:
    """Partition and offset of the facts that were put aside."""
    return {
        (each.position.partition, each.position.offset)
        for each in letters
        if each.position.topic == INFERENCE_GENERATIONS.name
    }


def _difference(
    subject: str, what: str, kept: object, expected: object, kind: DifferenceKind
) -> Difference:
    return Difference(kind=kind, subject=subject, what=what, kept=str(kept), expected=str(expected))


def _sight(period: Period, starts: Starts, begins: Begins, at: datetime) -> Sight:
    now = at.timestamp()
    return Sight(
        period=period,
        facts_read_from={
            partition: max(begin, starts.facts.get(partition, 0))
            for partition, begin in begins.facts.items()
        },
        facts_from=_kept_since(INFERENCE_GENERATIONS, begins.facts.values(), now),
        fees_from=_kept_since(BILLING_FEES, begins.fees.values(), now),
        now=now,
    )


def _kept_since(topic: Topic, begins: Sequence[int] | Any, now: float) -> float:
    """From when on a topic certainly has everything; for ever, if nothing has left it yet."""
    if not any(begins):
        return float("-inf")
    if topic.retention_ms is None:
        raise ValueError(f"{topic.name} is compacted")
    return now - topic.retention_ms / _MS_A_SECOND + CLOCKS_APART.total_seconds()


def _ranges(starts: Starts, ends: Ends) -> dict[int, tuple[int, int, int]]:
    return {
        partition: (begin, starts.facts_committed[partition], ends.facts.get(partition, begin))
        for partition, begin in starts.facts.items()
    }
