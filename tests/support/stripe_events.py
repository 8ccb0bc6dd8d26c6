"""Events as Stripe sends them, signed by Stripe's own client. Made-up data only."""

import json
from typing import Any

import stripe

from tests.support.credit_secrets import WEBHOOK_SECRET


def event(kind: str, about: dict[str, Any], *, event_id: str, live: bool = False) -> bytes:
    """The body of one event."""
    body = {
        "id": event_id,
        "object": "event",
        "api_version": "2025-09-30.clover",
        "created": 1_770_000_000,
        "livemode": live,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
        "data": {"object": about},
    }
    return json.dumps(body, indent=2).encode()


def session(payment_intent: str | None, account: str | None, cents: int, **more: Any) -> Any:
    """A Checkout Session that was paid."""
    return {
        "id": "cs_test_1",
        "object": "checkout.session",
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "payment_intent": payment_intent,
        "client_reference_id": account,
        "amount_subtotal": cents,
        "amount_total": cents,
        "currency": "usd",
        "metadata": {},
        "livemode": False,
    } | more


def charge(payment_intent: str | None, refunded_cents: int, **more: Any) -> Any:
    """A charge of which so much was refunded by now."""
    return {
        "id": "ch_1",
        "object": "charge",
        "amount": 1_000,
        "amount_refunded": refunded_cents,
        "currency": "usd",
        "payment_intent": payment_intent,
        "refunded": False,
        "metadata": {},
    } | more


def dispute(payment_intent: str | None, cents: int, status: str, **more: Any) -> Any:
    """A dispute."""
    return {
        "id": "dp_1",
        "object": "dispute",
        "amount": cents,
        "currency": "usd",
        "charge": "ch_1",
        "payment_intent": payment_intent,
        "reason": "fraudulent",
        "status": status,
    } | more


def signature(body: bytes, *, at: int, secret: str = WEBHOOK_SECRET) -> str:
    """The header that Stripe sends with a body."""
    return str(stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at))
