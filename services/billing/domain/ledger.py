"""Double entry: every movement of money is a transfer from one ledger account to another.

A transfer's id is made from what it is about (`<generation>/revenue`, `<hold>/held`), so that the
same movement can never be written twice.
"""

from enum import StrEnum

import msgspec

from shared.ids import AccountId, GenerationId, HoldId


class LedgerAccount(StrEnum):
    """What money can stand on. Two of them exist once for each customer."""

    CUSTOMER_CREDITS = "customer_credits"
    CUSTOMER_HOLDS = "customer_holds"
    CASH_IN = "cash_in"
    PROMOTIONS = "promotions"
    CORRECTIONS = "corrections"
    REVENUE_FEES = "revenue_fees"
    REVENUE_INFERENCE = "revenue_inference"
    UNCOLLECTED = "uncollected"
    CLEARING = "clearing"
    """A charge is gathered here from what pays it and leaves as one sum: always back to zero."""


OF_CUSTOMER = frozenset({LedgerAccount.CUSTOMER_CREDITS, LedgerAccount.CUSTOMER_HOLDS})


class TransferKind(StrEnum):
    """Why money moved."""

    TOP_UP = "top_up"
    PROMOTION = "promotion"
    REFUND = "refund"
    REFUND_NOT_COLLECTED = "refund_not_collected"
    REFUND_REVERSED = "refund_reversed"
    REFUND_COVERED = "refund_covered"
    CORRECTION = "correction"
    HELD = "held"
    RETURNED = "returned"
    PAID_FROM_HOLD = "paid_from_hold"
    PAID_FROM_CREDITS = "paid_from_credits"
    NOT_COLLECTED = "not_collected"
    REVENUE = "revenue"
    REVENUE_REVERSED = "revenue_reversed"
    CREDITS_GIVEN_BACK = "credits_given_back"
    NOT_COLLECTED_REVERSED = "not_collected_reversed"


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """`amount_nano_usd` (above zero) moves from `debit` to `credit`.

    `month` is where it is written; `corrects_month` the month that it belongs to, when that one was
    closed before.
    """

    transfer_id: str
    month: str
    kind: TransferKind
    account_id: AccountId
    debit: LedgerAccount
    credit: LedgerAccount
    amount_nano_usd: int
    generation_id: GenerationId | None = None
    hold_id: HoldId | None = None
    corrects_month: str | None = None


def ledger_name(account: LedgerAccount, customer: AccountId) -> str:
    """The name under which a ledger account stands in the books."""
    return f"{account}/{customer}" if account in OF_CUSTOMER else str(account)
