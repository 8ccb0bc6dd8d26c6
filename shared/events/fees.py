"""What billing tells the world: every movement of credits, with the numbers that made it.

Amounts are integer nano-USD.
"""

from decimal import Decimal
from typing import Literal

from shared.events.billing import AllotmentRule
from shared.events.envelope import Event
from shared.events.usage import Prices, Usage
from shared.ids import AccountId, CredentialId, GenerationId


class _OfOwnKey(Event, frozen=True, kw_only=True):
    """What a BYOK generation cost; `FeeDeducted` says what the fields are."""

    generation_id: GenerationId
    account_id: AccountId
    credential_id: CredentialId | None
    model: str
    list_cost_nano_usd: int
    fee_percent: Decimal
    fee_nano_usd: int
    month: str
    allotment_used: int
    credits_nano_usd: int
    allotment_rule: AllotmentRule = "requests"
    free_requests: int | None = None
    list_cost_used_nano_usd: int = 0
    free_list_cost_nano_usd: int | None = None
    usage: Usage | None = None
    prices: Prices | None = None


class FeeDeducted(_OfOwnKey, frozen=True, kw_only=True):
    """A BYOK generation beyond the allotment: its fee was taken from credits.

    `list_cost_nano_usd` is the sum of `usage` at `prices`, rounded; `fee_nano_usd` is `fee_percent` of
    the exact sum, and `fee_nano_usd_max`, where a hold promised it, at most that. Then come the
    `allotment_rule` of `month` and where the allotment stood: `allotment_used` requests, and
    `list_cost_used_nano_usd` waived, this generation included. `uncollected_nano_usd` is what credits
    did not cover.
    """

    fee_nano_usd_max: int | None = None
    uncollected_nano_usd: int = 0


class FeeWaived(_OfOwnKey, frozen=True, kw_only=True):
    """A BYOK generation within the allotment: `fee_nano_usd` is 0. Fields as of `FeeDeducted`."""


class CreditsCharged(Event, frozen=True, kw_only=True):
    """A generation on shared capacity was paid with credits: `usage` at `prices`, rounded once.

    `uncollected_nano_usd` is what credits did not cover, which only a hold that ran out allows.
    """

    generation_id: GenerationId
    account_id: AccountId
    credential_id: CredentialId | None = None
    model: str
    list_cost_nano_usd: int
    charge_nano_usd: int
    uncollected_nano_usd: int = 0
    month: str
    credits_nano_usd: int
    usage: Usage | None = None
    prices: Prices | None = None


class CreditsAdded(Event, frozen=True, kw_only=True):
    """An account was topped up; `payment_id` names the payment when a payment provider told of it."""

    account_id: AccountId
    amount_nano_usd: int
    key: str
    credits_nano_usd: int
    kind: Literal["cash", "promotion"] = "cash"
    payment_id: str | None = None


class CreditsRefunded(Event, frozen=True, kw_only=True):
    """Money went back to who paid it: `amount_nano_usd` was taken from credits.

    `uncollected_nano_usd` went back as well, but was spent already. `dispute_id` when a bank took it.
    """

    account_id: AccountId
    amount_nano_usd: int
    uncollected_nano_usd: int
    key: str
    credits_nano_usd: int
    reason: str | None = None
    payment_id: str | None = None
    dispute_id: str | None = None


class RefundReversed(Event, frozen=True, kw_only=True):
    """Money that a bank had taken is ours again, as a dispute was won.

    It first covers what had not been collected, `uncollected_nano_usd`; the rest are credits again.
    """

    account_id: AccountId
    amount_nano_usd: int
    uncollected_nano_usd: int
    key: str
    credits_nano_usd: int
    payment_id: str
    dispute_id: str


class CreditsCorrected(Event, frozen=True, kw_only=True):
    """An operator gave credits, or took them (`amount_nano_usd` below zero), and says why."""

    account_id: AccountId
    amount_nano_usd: int
    key: str
    credits_nano_usd: int
    reason: str
    reference: str | None = None


class ChargeReversed(Event, frozen=True, kw_only=True):
    """A charge already posted was given back, because the answer ended with an error of ours.

    `credential_id` is the own key whose fee it was, null for shared capacity. The charge was
    `amount_nano_usd` and `uncollected_nano_usd` together.
    """

    generation_id: GenerationId
    account_id: AccountId
    credential_id: CredentialId | None = None
    amount_nano_usd: int
    uncollected_nano_usd: int = 0
    waived: bool
    month: str
    credits_nano_usd: int
