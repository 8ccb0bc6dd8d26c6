"""What reconciliation finds: two places that do not say the same."""

from dataclasses import dataclass
from enum import StrEnum

from typing_extensions import override


class DifferenceKind(StrEnum):
    """The kinds, each with its section in docs/runbooks/reconcile.md."""

    FACT_NOT_BOOKED = "fact-not-booked"
    BOOKING_WITHOUT_FACT = "booking-without-fact"
    BOOKED_TWICE = "booked-twice"
    WRONG_AMOUNT = "wrong-amount"
    WRONG_TRANSFERS = "wrong-transfers"
    WRONG_HOLD = "wrong-hold"
    NOT_TOLD = "not-told"
    TOLD_NOT_BOOKED = "told-not-booked"
    TOLD_WRONGLY = "told-wrongly"
    WRONG_STATE = "wrong-state"
    WRONG_COUNTER = "wrong-counter"
    UNBALANCED = "unbalanced"
    NOT_TAKEN_IN = "not-taken-in"
    TAKEN_IN_WITHOUT_RECORD = "taken-in-without-record"
    UNREADABLE_FACT = "unreadable-fact"
    BROKEN_SEAL = "broken-seal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`what` of `subject` is `kept` in one place, and `expected` after the other."""

    kind: DifferenceKind
    subject: str
    what: str
    kept: str
    expected: str

    @override
    def __str__(self) -> str:
        """One line for people and for grep."""
        return (
            f"{self.kind}: {self.subject}: {self.what}: is {self.kept}, should be {self.expected}"
        )
