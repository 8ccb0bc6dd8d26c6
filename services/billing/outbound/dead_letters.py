"""Which dead letters are about money, and what each of them says."""

from collections.abc import Set as AbstractSet

from services.billing.domain.dead_letter import DeadLetter, Position
from shared.events.codec import Received
from shared.events.dead_letters import DeadLettered
from shared.events.payments import PaymentNotBooked


def dead_letter(received: Received, consumers: AbstractSet[str]) -> DeadLetter | None:
    """A record that one of these consumers put aside, or a payment; None for any other letter."""
    match received.event:
        case DeadLettered() as letter if letter.consumer in consumers:
            return DeadLetter(
                position=Position(
                    topic=letter.topic, partition=letter.partition, offset=letter.offset
                ),
                event_id=letter.event_id or "",
                reason=letter.reason,
            )
        case PaymentNotBooked() as payment:
            return DeadLetter(
                position=Position(
                    topic=received.topic, partition=received.partition, offset=received.offset
                ),
                event_id=received.envelope.id,
                reason=_payment(payment),
            )
        case _:
            return None


def _payment(payment: PaymentNotBooked) -> str:
    named = (
        ("payment", payment.payment_id),
        ("account", payment.account_id),
        ("amount", payment.amount),
        ("in", payment.currency),
    )
    told = " ".join(f"{name} {value}" for name, value in named if value is not None)
    event = f"{payment.provider} {payment.event_type} {payment.event_id}"
    return f"payment not booked: {payment.reason} ({event}{' ' if told else ''}{told})"
