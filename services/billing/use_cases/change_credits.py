"""Commands that change credits and are about no generation: what each needs, and who decides."""

from typing import TypeAlias, assert_never

from services.billing.domain.credits import add_credits, correct_credits, refund_credits
from services.billing.domain.page import Page
from services.billing.domain.record_payment import record_dispute, record_payment, record_refund
from services.billing.ports.ledger import Scope
from shared.events.billing import AddCredits, CorrectCredits, RefundCredits
from shared.events.envelope import CallReply
from shared.events.payments import RecordDispute, RecordPayment, RecordRefund

CreditCommand: TypeAlias = (
    AddCredits | RefundCredits | CorrectCredits | RecordPayment | RecordRefund | RecordDispute
)


def add_scope(scope: Scope, command: CreditCommand) -> None:
    """Have the page hold what the command is about."""
    match command:
        case AddCredits() | RefundCredits() | CorrectCredits():
            scope.account_ids.add(command.account_id)
            scope.movement_keys.add((command.account_id, command.key))
        case RecordPayment():
            scope.account_ids.add(command.account_id)
            scope.movement_keys.add((command.account_id, command.payment_id))
            scope.payment_ids.add(command.payment_id)
        case RecordRefund() | RecordDispute():
            scope.payment_ids.add(command.payment_id)
        case _:
            assert_never(command)
    if isinstance(command, RefundCredits):
        scope.refunded_account_ids.add(command.account_id)


def change_credits(page: Page, command: CreditCommand, month: str) -> CallReply:
    """Carry the command out; `month` is the present one."""
    match command:
        case AddCredits():
            return add_credits(page, command, month)
        case RefundCredits():
            return refund_credits(page, command, month)
        case CorrectCredits():
            return correct_credits(page, command, month)
        case RecordPayment():
            return record_payment(page, command, month)
        case RecordRefund():
            return record_refund(page, command, month)
        case RecordDispute():
            return record_dispute(page, command, month)
        case _:
            assert_never(command)
