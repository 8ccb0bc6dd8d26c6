"""A payment: what came in, what its provider says of it, and what must have gone back of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from shared.ids import AccountId


class ReportKind(StrEnum):
    """What a payment provider says of a payment besides that it came in."""

    REFUNDED = "refunded"
    """So much by now, in all."""
    WITHDRAWN = "withdrawn"
    """A bank took it for a dispute."""
    REINSTATED = "reinstated"
    """The bank gave it back: the dispute was won."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReport:
    """One report; the same kind and subject is the same report.

    `subject` is the dispute, or the amount refunded by now.
    """

    payment_id: str
    kind: ReportKind
    subject: str
    amount_nano_usd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment that was credited, and what went back of it.

    `taken_nano_usd` came from the customer's credits, `uncollected_nano_usd` from nobody.
    """

    payment_id: str
    account_id: AccountId
    amount_nano_usd: int
    taken_nano_usd: int = 0
    uncollected_nano_usd: int = 0

    @property
    def returned_nano_usd(self) -> int:
        """All that went back."""
        return self.taken_nano_usd + self.uncollected_nano_usd


def to_return(amount_nano_usd: int, reports: Iterable[PaymentReport]) -> int:
    """What must have gone back of a payment by now, whatever the order of the reports.

    No more than came in: a refund and a dispute may be about the same money.
    """
    refunded = 0
    withdrawn: dict[str, int] = {}
    reinstated: set[str] = set()
    for report in reports:
        match report.kind:
            case ReportKind.REFUNDED:
                refunded = max(refunded, report.amount_nano_usd)
            case ReportKind.WITHDRAWN:
                withdrawn[report.subject] = report.amount_nano_usd
            case ReportKind.REINSTATED:
                reinstated.add(report.subject)
    disputed = sum(amount for subject, amount in withdrawn.items() if subject not in reinstated)
    return min(amount_nano_usd, refunded + disputed)
