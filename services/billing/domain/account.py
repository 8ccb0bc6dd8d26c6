"""What an account may still spend."""

from dataclasses import dataclass, replace
from decimal import Decimal

from services.billing.domain.ledger import LedgerAccount, Transfer
from services.billing.domain.policy import FeePolicy
from shared.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account's counters, which follow from its transfers, and its own fee policy.

    `version` grows with each change that others are told of. `policy_version` is that of the
    `AccountChanged` which the policy comes from, 0 before the first.
    """

    account_id: AccountId
    available_nano_usd: int = 0
    held_nano_usd: int = 0
    version: int = 0
    fee_percent: Decimal | None = None
    free_requests: int | None = None
    policy_version: int = 0

    def after(self, transfer: Transfer) -> "Account":
        """The account once a transfer of its money is booked; ValueError below zero."""
        available = self.available_nano_usd + _change(transfer, LedgerAccount.CUSTOMER_CREDITS)
        held = self.held_nano_usd + _change(transfer, LedgerAccount.CUSTOMER_HOLDS)
        if available < 0 or held < 0:
            raise ValueError(f"{transfer.transfer_id} would take {transfer.debit} below zero")
        return replace(self, available_nano_usd=available, held_nano_usd=held)

    def policy(self, installation: FeePolicy) -> FeePolicy:
        """The fee policy that holds for this account."""
        return installation.overridden(self.fee_percent, self.free_requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """The BYOK requests of one account and month: made with success, and promised to running ones.

    `used` may exceed what is free: requests with a fee count as well.
    """

    used: int = 0
    reserved: int = 0

    def changed(self, *, used: int = 0, reserved: int = 0) -> "Allotment":
        """The allotment after adding to its counters; ValueError below zero."""
        changed = Allotment(used=self.used + used, reserved=self.reserved + reserved)
        if changed.used < 0 or changed.reserved < 0:
            raise ValueError("an allotment cannot fall below zero")
        return changed


def _change(transfer: Transfer, account: LedgerAccount) -> int:
    if transfer.credit is account:
        return transfer.amount_nano_usd
    if transfer.debit is account:
        return -transfer.amount_nano_usd
    return 0
