"""What a payment provider says is booked, or an operator hears why not; nothing is dropped."""

from typing import Final, Literal, TypeAlias

from services.ingress.domain.stripe_events import EVENT_TYPES, Ignored, StripeEvent
from services.ingress.ports import Accounts, PaymentMeasurements, Payments
from shared.errors import Unavailable
from shared.events.envelope import Refused
from shared.events.payments import PaymentKept, PaymentNotBooked, RecordPayment
from shared.telemetry.logging import get_logger

Outcome: TypeAlias = Literal["booked", "repeated", "waiting", "ignored", "not_booked"]
_OTHER: Final = "other"


class TakePaymentNews:
    """Tells billing, and whoever watches the dead letters."""

    def __init__(
        self, *, accounts: Accounts, payments: Payments, measurements: PaymentMeasurements
    ) -> None:
        """Nothing is remembered here: billing knows what it has booked."""
        self._accounts = accounts
        self._payments = payments
        self._measurements = measurements
        self._logger = get_logger("payments")

    async def __call__(self, event: StripeEvent) -> Outcome:
        """Take one event in. Raises Unavailable: then it must be sent again."""
        outcome = await self._take(event)
        kind = event.event_type if event.event_type in EVENT_TYPES else _OTHER
        self._measurements.taken(kind, outcome)
        return outcome

    async def _take(self, event: StripeEvent) -> Outcome:
        match event.news:
            case Ignored():
                return "ignored"
            case PaymentNotBooked() as report:
                return await self._report(report)
            case RecordPayment() as paid if not await self._accounts.exists(paid.account_id):
                return await self._report(event.not_booked("there is no such account"))
            case command:
                answer = await self._payments.tell(command)
        match answer:
            case PaymentKept():
                return answer.outcome
            case Refused():
                return await self._report(event.not_booked(answer.message))
            case _:
                raise Unavailable("billing", f"unexpected answer {type(answer).__name__}")

    async def _report(self, report: PaymentNotBooked) -> Outcome:
        await self._payments.report(report)
        self._logger.error(
            "a payment was not booked",
            event_id=report.event_id,
            event_type=report.event_type,
            payment_id=report.payment_id,
            reason=report.reason,
        )
        return "not_booked"
