"""Of Stripe's objects (https://docs.stripe.com/api) what is read here.

Amounts are in the currency's smallest unit. What Stripe adds to its objects is passed over.
"""

from typing import Annotated, Any

import msgspec

Amount = Annotated[int, msgspec.Meta(ge=0, le=100_000_000_000)]
"""A billion dollars; Stripe's own largest is below it."""
Id = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_]{1,90}$")]


class Data(msgspec.Struct):
    """What an event is about."""

    object: dict[str, Any]


class Event(msgspec.Struct):
    """https://docs.stripe.com/api/events/object."""

    id: Id
    type: str
    livemode: bool
    data: Data


class Session(msgspec.Struct):
    """A Checkout Session; `payment_intent` is null for subscriptions and where nothing is to pay."""

    payment_status: str
    payment_intent: str | None = None
    amount_total: Amount | None = None
    currency: str | None = None
    client_reference_id: str | None = None
    metadata: dict[str, str] | None = None


class Charge(msgspec.Struct):
    """`amount_refunded` is all that was refunded by now."""

    amount_refunded: Amount
    currency: str
    payment_intent: str | None = None


class Dispute(msgspec.Struct):
    """`status` begins with `warning_` while it is an inquiry that takes no money."""

    id: Id
    amount: Amount
    currency: str
    status: str
    payment_intent: str | None = None


class Refund(msgspec.Struct):
    """One refund of a charge."""

    amount: Amount
    currency: str
    payment_intent: str | None = None
