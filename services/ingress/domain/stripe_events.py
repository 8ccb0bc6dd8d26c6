"""What Stripe's events say of payments, in billing's words.

A Checkout Session that is paid becomes credits of the account that its `client_reference_id`, or
else its `metadata.account_id`, names. Refunds and disputes name the PaymentIntent, as the session
does. https://docs.stripe.com/api/events/types
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from services.ingress.domain.credit_forms import account_id_of
from services.ingress.domain.json_input import read_json
from services.ingress.domain.refusals import Refusal
from services.ingress.domain.stripe_objects import Charge, Dispute, Event, Refund, Session
from shared.events.payments import PaymentNotBooked, RecordDispute, RecordPayment, RecordRefund

T = TypeVar("T")

PROVIDER: Final = "stripe"
_CENT_NANO_USD: Final = 10_000_000
_CURRENCY: Final = "usd"
_SHOWN_CHARACTERS_MAX: Final = 200
_ID: Final = re.compile(r"[A-Za-z0-9_]{1,90}")
_NO_INTENT: Final = "the session has no payment_intent: only one-off payments become credits"
_NO_ACCOUNT: Final = "neither client_reference_id nor metadata.account_id is an account's id"
_TWO_ACCOUNTS: Final = "client_reference_id and metadata.account_id differ"
_NOT_USD: Final = "only USD is booked"
_REFUND_FAILED: Final = "a refund failed at the bank; what it took is to be given back by hand"


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event moves no money of ours."""


PaymentNews: TypeAlias = Ignored | PaymentNotBooked | RecordPayment | RecordRefund | RecordDispute


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeEvent:
    """An event and what it says. Id and type are empty when they could not be read."""

    event_id: str
    event_type: str
    news: PaymentNews

    def not_booked(self, reason: str) -> PaymentNotBooked:
        """The report that nothing was booked for it."""
        match self.news:
            case PaymentNotBooked() as report:
                return report
            case Ignored():
                payment_id = account_id = amount = None
            case RecordPayment() as paid:
                payment_id, account_id = paid.payment_id, paid.account_id
                amount = paid.amount_nano_usd // _CENT_NANO_USD
            case command:
                payment_id, account_id, amount = command.payment_id, None, None
        return PaymentNotBooked(
            provider=PROVIDER,
            event_id=self.event_id,
            event_type=self.event_type,
            reason=reason,
            payment_id=payment_id,
            account_id=account_id,
            amount=amount,
            currency=_CURRENCY,
        )


@dataclass(frozen=True, slots=True)
class _Unbooked:
    """Why, and what was named as far as it could be read."""

    reason: str
    amount: int | None = None
    currency: str | None = None
    payment_intent: str | None = None
    account: str | None = None


_Read: TypeAlias = Ignored | _Unbooked | RecordPayment | RecordRefund | RecordDispute


def read_event(body: bytes, *, live_mode: bool) -> StripeEvent:
    """Whatever the body is; `live_mode` is that of the endpoint."""
    event = read_json(body, Event)
    if isinstance(event, Refusal):
        unreadable = _Unbooked(f"the event cannot be read: {_shown(event.message)}")
        return StripeEvent(event_id="", event_type="", news=_report("", "", unreadable))
    event_id, event_type = _shown(event.id), _shown(event.type)
    known = _READERS.get(event.type)
    read: _Read
    if known is None:
        read = Ignored()
    elif event.livemode is not live_mode:
        read = _Unbooked(f"livemode is {event.livemode}, and STRIPE_LIVE_MODE says otherwise")
    else:
        read = known(event.data.object)
    news = _report(event_id, event_type, read) if isinstance(read, _Unbooked) else read
    return StripeEvent(event_id=event_id, event_type=event_type, news=news)


def _paid(given: dict[str, Any]) -> _Read:
    session = _converted(given, Session)
    if isinstance(session, _Unbooked):
        return session
    if session.payment_status != "paid":
        return Ignored()  # async_payment_succeeded follows, or nothing was to pay
    named = [session.client_reference_id, (session.metadata or {}).get("account_id")]
    accounts = list(dict.fromkeys(each for each in named if each))
    account_id = account_id_of(accounts[0]) if len(accounts) == 1 else None
    payment_id, amount = _payment_id(session.payment_intent), session.amount_total
    if payment_id is not None and account_id is not None and _is_usd(session):
        return RecordPayment(
            payment_id=payment_id,
            account_id=account_id,
            amount_nano_usd=(amount or 0) * _CENT_NANO_USD,
        )
    if payment_id is None:
        reason = _NO_INTENT
    elif account_id is None:
        reason = _TWO_ACCOUNTS if len(accounts) > 1 else _NO_ACCOUNT
    else:
        reason = _NOT_USD
    return _Unbooked(
        reason, amount, session.currency, session.payment_intent, " ".join(accounts) or None
    )


def _refunded(given: dict[str, Any]) -> _Read:
    charge = _converted(given, Charge)
    if isinstance(charge, _Unbooked):
        return charge
    payment_id = _payment_id(charge.payment_intent)
    if payment_id is None:
        return Ignored()  # a charge without a PaymentIntent was never a Checkout Session's
    if not _is_usd(charge):
        return _not_usd(charge.amount_refunded, charge.currency, charge.payment_intent)
    return RecordRefund(
        payment_id=payment_id, refunded_nano_usd=charge.amount_refunded * _CENT_NANO_USD
    )


def _refund_failed(given: dict[str, Any]) -> _Read:
    refund = _converted(given, Refund)
    if isinstance(refund, _Unbooked):
        return refund
    return _Unbooked(_REFUND_FAILED, refund.amount, refund.currency, refund.payment_intent)


def _disputed(given: dict[str, Any]) -> _Read:
    dispute = _converted(given, Dispute)
    if isinstance(dispute, _Unbooked):
        return dispute
    if dispute.status.startswith("warning_"):
        return Ignored()  # an inquiry: the bank has taken nothing
    return _dispute(dispute, is_reinstated=False)


def _dispute_closed(given: dict[str, Any]) -> _Read:
    dispute = _converted(given, Dispute)
    if isinstance(dispute, _Unbooked):
        return dispute
    if dispute.status != "won":
        return Ignored()  # lost: what was taken stays taken
    return _dispute(dispute, is_reinstated=True)


def _reinstated(given: dict[str, Any]) -> _Read:
    dispute = _converted(given, Dispute)
    return dispute if isinstance(dispute, _Unbooked) else _dispute(dispute, is_reinstated=True)


def _dispute(dispute: Dispute, *, is_reinstated: bool) -> _Read:
    payment_id = _payment_id(dispute.payment_intent)
    if payment_id is None:
        return Ignored()
    if not _is_usd(dispute):
        return _not_usd(dispute.amount, dispute.currency, dispute.payment_intent)
    return RecordDispute(
        payment_id=payment_id,
        dispute_id=dispute.id,
        amount_nano_usd=dispute.amount * _CENT_NANO_USD,
        is_reinstated=is_reinstated,
    )


_READERS: Final[Mapping[str, Callable[[dict[str, Any]], _Read]]] = MappingProxyType(
    {
        "checkout.session.completed": _paid,
        "checkout.session.async_payment_succeeded": _paid,
        "charge.refunded": _refunded,
        "refund.failed": _refund_failed,
        "charge.dispute.created": _disputed,
        "charge.dispute.funds_withdrawn": _disputed,
        "charge.dispute.closed": _dispute_closed,
        "charge.dispute.funds_reinstated": _reinstated,
    }
)
EVENT_TYPES: Final = frozenset(_READERS)
"""The types that are read; an endpoint at Stripe needs no other."""


def _converted(given: dict[str, Any], kind: type[T]) -> T | _Unbooked:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        return _Unbooked(f"its {kind.__name__.lower()} cannot be read: {_shown(str(error))}")


def _not_usd(amount: int, currency: str, payment_intent: str | None) -> _Unbooked:
    return _Unbooked(_NOT_USD, amount, currency, payment_intent)


def _is_usd(given: Session | Charge | Dispute) -> bool:
    return given.currency == _CURRENCY


def _payment_id(payment_intent: str | None) -> str | None:
    if payment_intent is None or not _ID.fullmatch(payment_intent):
        return None
    return f"{PROVIDER}/{payment_intent}"


def _report(event_id: str, event_type: str, unbooked: _Unbooked) -> PaymentNotBooked:
    intent, account, currency = unbooked.payment_intent, unbooked.account, unbooked.currency
    return PaymentNotBooked(
        provider=PROVIDER,
        event_id=event_id,
        event_type=event_type,
        reason=unbooked.reason,
        payment_id=_payment_id(intent) or (None if intent is None else _shown(intent)),
        account_id=None if account is None else _shown(account),
        amount=unbooked.amount,
        currency=None if currency is None else _shown(currency),
    )


def _shown(text: str) -> str:
    """What came from outside, printable and cut."""
    return "".join(
        character if " " <= character <= "~" else "?" for character in text[:_SHOWN_CHARACTERS_MAX]
    )
