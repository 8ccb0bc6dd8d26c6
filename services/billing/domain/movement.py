"""Movements: all that changes an account's credits and is no generation, each once for its key."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from shared.ids import AccountId


class MovementKind(StrEnum):
    """What came in or went out."""

    CASH = "cash"
    PROMOTION = "promotion"
    REFUND = "refund"
    REFUND_REVERSED = "refund_reversed"
    CORRECTION = "correction"


OF_CASH = frozenset({MovementKind.CASH, MovementKind.REFUND, MovementKind.REFUND_REVERSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Credits changed by `amount_nano_usd`, and then were `credits_nano_usd`.

    `uncollected_nano_usd` is what of a refund the credits did not cover; below zero what of that is
    covered again. `credits_nano_usd` is None for movements from before it was kept.
    """

    account_id: AccountId
    key: str
    kind: MovementKind
    input_hash: str
    amount_nano_usd: int
    credits_nano_usd: int | None
    uncollected_nano_usd: int = 0
    reason: str | None = None
    reference: str | None = None
    payment_id: str | None = None

    @property
    def cash_nano_usd(self) -> int:
        """What came in as cash, below zero what went out."""
        if self.kind not in OF_CASH:
            return 0
        return self.amount_nano_usd - self.uncollected_nano_usd


def input_hash(
    kind: MovementKind,
    amount_nano_usd: int,
    *,
    reason: str | None = None,
    reference: str | None = None,
    payment_id: str | None = None,
) -> str:
    """What tells whether a key comes again with the same input: SHA-256, hexadecimal."""
    given = [kind, amount_nano_usd, reason, reference, payment_id]
    return hashlib.sha256(msgspec.json.encode(given)).hexdigest()
