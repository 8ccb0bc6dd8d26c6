"""Payments: billing, by calls; and the dead letters, where operators look."""

from typing import Final

from typing_extensions import override

from services.ingress.ports import Payments
from shared.events.envelope import CallReply
from shared.events.payments import PaymentNotBooked, RecordDispute, RecordPayment, RecordRefund
from shared.events.topics import BILLING_COMMANDS, DEAD_LETTERS
from shared.ids import EventId
from shared.kafka.calls import Calls
from shared.kafka.producer import EventProducer

_CALL_SECONDS_MAX: Final = 5.0


class KafkaPayments(Payments):
    """Returns once billing has answered, or Kafka has acknowledged."""

    def __init__(self, calls: Calls, producer: EventProducer) -> None:
        """Use the process's own."""
        self._calls = calls
        self._producer = producer

    @override
    async def tell(self, command: RecordPayment | RecordRefund | RecordDispute) -> CallReply:
        # A refund does not say whose payment it was; billing needs no order of these.
        key = command.account_id if isinstance(command, RecordPayment) else command.payment_id
        return await self._calls.call(
            BILLING_COMMANDS,
            command,
            key=key,
            callee="billing",
            deadline_seconds=_CALL_SECONDS_MAX,
        )

    @override
    async def report(self, report: PaymentNotBooked) -> None:
        # The provider's own id of the event: when it sends it again, readers know it.
        event_id = EventId(f"{report.provider}/{report.event_id}") if report.event_id else None
        key = report.payment_id or report.event_id or report.provider
        await self._producer.emit(DEAD_LETTERS, report, key=key, event_id=event_id)
