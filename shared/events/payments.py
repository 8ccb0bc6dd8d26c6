"""Payments: what a payment provider says, for billing to book, and what could not be booked.

A payment's id is `<provider>/<the provider's id>`. Amounts are integer nano-USD. Commands may come
again and in any order: the books end up the same.
"""

from typing import Literal

from shared.events.envelope import CallReply, Event
from shared.ids import AccountId


class RecordPayment(Event, frozen=True, kw_only=True):
    """A payment came in: credits for its account, once for the payment."""

    payment_id: str
    account_id: AccountId
    amount_nano_usd: int


class RecordRefund(Event, frozen=True, kw_only=True):
    """So much of a payment has been refunded by now, in all."""

    payment_id: str
    refunded_nano_usd: int


class RecordDispute(Event, frozen=True, kw_only=True):
    """A bank took a disputed part of a payment, or, the dispute won, gave it back (`is_reinstated`)."""

    payment_id: str
    dispute_id: str
    amount_nano_usd: int
    is_reinstated: bool


class PaymentKept(CallReply, frozen=True, kw_only=True):
    """Answers the three.

    `waiting`: it is kept, and will be booked when the payment itself is told of. `account_id` is
    None until then.
    """

    payment_id: str
    account_id: AccountId | None
    outcome: Literal["booked", "repeated", "waiting"]


class PaymentNotBooked(Event, frozen=True, kw_only=True):
    """A payment provider told of money and nothing was booked for it: an operator must look.

    `event_id` and `event_type` are the provider's. What it named is there as far as it could be read.
    """

    provider: str
    event_id: str
    event_type: str
    reason: str
    payment_id: str | None = None
    account_id: str | None = None
    amount: int | None = None
    """In the currency's smallest unit."""
    currency: str | None = None
