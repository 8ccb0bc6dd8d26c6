"""What an account may still spend."""

import msgspec

from services.billing.domain.ledger import LedgerAccount, Transfer
from services.billing.domain.policy import FeePolicy, OwnPolicy
from shared.ids import AccountId


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account's counters, which follow from its transfers, and its own fee policy.

    `version` grows with each change that others are told of. `policy_version` is that of the
    `AccountChanged` which the policy comes from, 0 before the first.
    """

    account_id: AccountId
    available_nano_usd: int = 0
    held_nano_usd: int = 0
    version: int = 0
    own_policy: OwnPolicy = msgspec.field(default_factory=OwnPolicy)
    policy_version: int = 0

    def after(self, transfer: Transfer) -> "Account":
        """The account once a transfer of its money is booked; ValueError below zero."""
        available = self.available_nano_usd + _change(transfer, LedgerAccount.CUSTOMER_CREDITS)
        held = self.held_nano_usd + _change(transfer, LedgerAccount.CUSTOMER_HOLDS)
        if available < 0 or held < 0:
            raise ValueError(f"{transfer.transfer_id} would take {transfer.debit} below zero")
        return msgspec.structs.replace(self, available_nano_usd=available, held_nano_usd=held)

    def policy(self, installation: FeePolicy) -> FeePolicy:
        """The fee policy that holds for this account."""
        return installation.overridden(self.own_policy)


class Allotment(msgspec.Struct, frozen=True, kw_only=True):
    """The BYOK use of one account and month: what was had, and what running requests may still take.

    `used` counts successful requests, those with a fee as well, so it may exceed what is free;
    `list_cost_used_nano_usd` sums up what was waived. Reserved are the requests that were promised
    a waiver, and their worst cases. All four are kept whichever rule holds, so that the rule may
    change within a month.
    """

    used: int = 0
    reserved: int = 0
    list_cost_used_nano_usd: int = 0
    list_cost_reserved_nano_usd: int = 0

    def changed(
        self,
        *,
        used: int = 0,
        reserved: int = 0,
        list_cost_used_nano_usd: int = 0,
        list_cost_reserved_nano_usd: int = 0,
    ) -> "Allotment":
        """The allotment after adding to its counters; ValueError below zero."""
        used += self.used
        reserved += self.reserved
        list_cost_used_nano_usd += self.list_cost_used_nano_usd
        list_cost_reserved_nano_usd += self.list_cost_reserved_nano_usd
        if (
            used < 0
            or reserved < 0
            or list_cost_used_nano_usd < 0
            or list_cost_reserved_nano_usd < 0
        ):
            raise ValueError("an allotment cannot fall below zero")
        return Allotment(
            used=used,
            reserved=reserved,
            list_cost_used_nano_usd=list_cost_used_nano_usd,
            list_cost_reserved_nano_usd=list_cost_reserved_nano_usd,
        )

    def has_left(self, policy: FeePolicy) -> bool:
        """Whether one more generation is waived: all of it, if anything at all is left."""
        if policy.allotment_rule == "requests":
            return self.used + self.reserved < policy.free_requests
        taken = self.list_cost_used_nano_usd + self.list_cost_reserved_nano_usd
        return taken < policy.free_list_cost_nano_usd


def _change(transfer: Transfer, account: LedgerAccount) -> int:
    if transfer.credit is account:
        return transfer.amount_nano_usd
    if transfer.debit is account:
        return -transfer.amount_nano_usd
    return 0
