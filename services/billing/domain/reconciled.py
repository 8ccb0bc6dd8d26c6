"""What comparing one subject's evidence came to, and what must be known to compare it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from services.billing.domain.difference import Difference, DifferenceKind
from services.billing.domain.evidence import Evidence
from services.billing.domain.period import Period

E = TypeVar("E")
InFlight = Literal["facts", "events", "states"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How far this reconciliation sees. Moments in seconds since 1970.

    What happened before `facts_from` may have left `inference.generations`, and before `fees_from`
    `billing.fees`: it is not missed there. Of the facts' partitions, what stands before
    `facts_read_from` was not read.
    """

    period: Period
    facts_read_from: Mapping[int, int]
    facts_from: float
    fees_from: float
    now: float


@dataclass(slots=True)
class Findings:
    """What differs, and how many facts, events or states have not had the time to agree."""

    differences: list[Difference] = field(default_factory=list)
    in_flight: Counter[InFlight] = field(default_factory=Counter)

    def differ(
        self, kind: DifferenceKind, subject: str, what: str, *, kept: object, expected: object
    ) -> None:
        """Note a difference."""
        self.differences.append(
            Difference(
                kind=kind, subject=subject, what=what, kept=str(kept), expected=str(expected)
            )
        )

    def equal(
        self, kind: DifferenceKind, subject: str, what: str, *, kept: object, expected: object
    ) -> None:
        """Note a difference if these are not equal."""
        if kept != expected:
            self.differ(kind, subject, what, kept=kept, expected=expected)


def of(evidence: Iterable[Evidence], kind: type[E]) -> list[E]:
    """The evidence of one kind."""
    return [each for each in evidence if isinstance(each, kind)]
