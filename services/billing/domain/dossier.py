"""All that is known of one generation."""

from dataclasses import dataclass, field

from services.billing.domain.difference import DifferenceKind
from services.billing.domain.evidence import (
    Abandoned,
    Booked,
    Ended,
    Finished,
    Held,
    Moved,
    Told,
)
from services.billing.domain.generation import (
    AbandonmentKind,
    SettlementKind,
)
from services.billing.domain.reconciled import Findings, Sight
from shared.ids import GenerationId


@dataclass(slots=True, kw_only=True)
class Dossier:
    """All that is known of one generation."""

    generation_id: GenerationId
    sight: Sight
    finished: list[Finished]
    abandoned: list[Abandoned]
    booked: list[Booked]
    ended: list[Ended]
    moved: list[Moved]
    held: list[Held]
    told: list[Told]
    waiting: set[str]
    found: Findings = field(default_factory=Findings)

    @property
    def subject(self) -> str:
        """What a difference is about."""
        accounts = {each.account_id for each in self.booked}
        accounts = accounts or {each.account_id for each in self.finished}
        accounts = accounts or {each.account_id for each in self.abandoned}
        return f"generation {self.generation_id} of account {', '.join(sorted(accounts)) or '?'}"

    @property
    def abandonment(self) -> Ended | None:
        """The row that says that nothing may be charged, even of what was posted."""
        return next((each for each in self.ended if each.kind == AbandonmentKind.ABANDONED), None)

    def differ(self, kind: DifferenceKind, what: str, *, kept: object, expected: object) -> None:
        """Note a difference if these are not equal."""
        self.found.equal(kind, self.subject, what, kept=kept, expected=expected)


def due_of(booked: Booked) -> int:
    """What a posting came to, collected or not."""
    return int(booked.collected + booked.uncollected)


def is_reversed(dossier: Dossier, booked: Booked | None) -> bool:
    """Whether a charge was posted and given back."""
    return (
        booked is not None
        and dossier.abandonment is not None
        and booked.kind != SettlementKind.NOTHING
    )
