"""What a payment provider says becomes credits, and takes them back, in whatever order it comes.

Each report is kept once. What must have gone back of a payment follows from all its reports; the
difference to what did is booked. Reports of a payment that is not known yet wait for it.
"""

from dataclasses import replace
from typing import Literal

from services.billing.domain.book_movement import (
    RETURN_PREFIX,
    Draft,
    Posting,
    add,
    bad_amount,
    given_before,
    move,
    refund,
)
from services.billing.domain.ledger import LedgerAccount, TransferKind
from services.billing.domain.movement import Movement, MovementKind, input_hash
from services.billing.domain.page import Page
from services.billing.domain.payment import Payment, PaymentReport, ReportKind, to_return
from shared.events.envelope import CallReply, Refused
from shared.events.fees import RefundReversed
from shared.events.payments import PaymentKept, RecordDispute, RecordPayment, RecordRefund

ID_CHARACTERS_MAX = 100
"""Of a payment and of a dispute: both stand in keys."""


def record_payment(page: Page, command: RecordPayment, month: str) -> CallReply:
    """Credit a payment once, then book what is already known to have gone back of it."""
    payment_id, amount = command.payment_id, command.amount_nano_usd
    draft = Draft(
        account_id=command.account_id,
        key=payment_id,
        kind=MovementKind.CASH,
        input_hash=input_hash(MovementKind.CASH, amount, payment_id=payment_id),
        payment_id=payment_id,
    )
    refused = _bad_id(payment_id, "payment_id") or bad_amount(amount)
    if refused is not None:
        return refused
    known = page.payments.get(payment_id)
    if known is not None and known.account_id != command.account_id:
        return Refused(code="conflict", message="this payment was credited to another account")
    before = given_before(page, draft)
    if before is not None:
        return before if isinstance(before, Refused) else _kept(page, payment_id, "repeated")
    add(page, draft, amount, month)
    page.payments[payment_id] = Payment(
        payment_id=payment_id, account_id=command.account_id, amount_nano_usd=amount
    )
    reports = page.payment_reports.get(payment_id, [])
    for number, report in enumerate(reports, start=1):
        _settle(page, reports[:number], report, month)
    return _kept(page, payment_id, "booked")


def record_refund(page: Page, command: RecordRefund, month: str) -> CallReply:
    """Book what of a payment was refunded since the last report, if this one is newer."""
    report = PaymentReport(
        payment_id=command.payment_id,
        kind=ReportKind.REFUNDED,
        subject=str(command.refunded_nano_usd),
        amount_nano_usd=command.refunded_nano_usd,
    )
    return _record(page, report, month)


def record_dispute(page: Page, command: RecordDispute, month: str) -> CallReply:
    """Book what a bank took for a dispute, or gave back."""
    report = PaymentReport(
        payment_id=command.payment_id,
        kind=ReportKind.REINSTATED if command.is_reinstated else ReportKind.WITHDRAWN,
        subject=command.dispute_id,
        amount_nano_usd=command.amount_nano_usd,
    )
    return _record(page, report, month)


def _record(page: Page, report: PaymentReport, month: str) -> CallReply:
    payment_id = report.payment_id
    refused = (
        _bad_id(payment_id, "payment_id")
        or _bad_id(report.subject, "dispute_id")
        or bad_amount(report.amount_nano_usd)
    )
    if refused is not None:
        return refused
    reports = page.payment_reports.get(payment_id, [])
    if any((each.kind, each.subject) == (report.kind, report.subject) for each in reports):
        return _kept(page, payment_id, "repeated")
    page.report(report)
    if payment_id in page.payments:
        _settle(page, page.payment_reports[payment_id], report, month)
    return _kept(page, payment_id, "booked")


def _settle(page: Page, reports: list[PaymentReport], newest: PaymentReport, month: str) -> None:
    """Book the difference between what must have gone back and what did, on account of `newest`."""
    payment = page.payments[newest.payment_id]
    missing = to_return(payment.amount_nano_usd, reports) - payment.returned_nano_usd
    is_refund = newest.kind is ReportKind.REFUNDED
    kind = MovementKind.REFUND if missing > 0 else MovementKind.REFUND_REVERSED
    draft = Draft(
        account_id=payment.account_id,
        key=f"{RETURN_PREFIX}{payment.payment_id}/{newest.kind}/{newest.subject}",
        kind=kind,
        input_hash=input_hash(kind, newest.amount_nano_usd, payment_id=payment.payment_id),
        reason="refund" if is_refund else "dispute",
        payment_id=payment.payment_id,
        dispute_id=None if is_refund else newest.subject,
    )
    if missing > 0:
        movement = refund(page, draft, missing, month)
    elif missing < 0:
        movement = _reverse(page, draft, payment, -missing, month)
    else:
        return
    page.payments[payment.payment_id] = replace(
        payment,
        taken_nano_usd=payment.taken_nano_usd - movement.amount_nano_usd,
        uncollected_nano_usd=payment.uncollected_nano_usd + movement.uncollected_nano_usd,
    )


def _reverse(page: Page, draft: Draft, payment: Payment, amount: int, month: str) -> Movement:
    """Money that had gone back is ours again: first for what was not collected, then as credits."""
    covered = min(amount, payment.uncollected_nano_usd)
    postings = [
        Posting(
            TransferKind.REFUND_COVERED, covered, LedgerAccount.CASH_IN, LedgerAccount.UNCOLLECTED
        ),
        Posting(
            TransferKind.REFUND_REVERSED,
            amount - covered,
            LedgerAccount.CASH_IN,
            LedgerAccount.CUSTOMER_CREDITS,
        ),
    ]
    movement = move(page, draft, postings, month, uncollected_nano_usd=-covered)
    event = RefundReversed(
        account_id=payment.account_id,
        amount_nano_usd=movement.amount_nano_usd,
        uncollected_nano_usd=covered,
        key=draft.key,
        credits_nano_usd=page.account(payment.account_id).available_nano_usd,
        payment_id=payment.payment_id,
        dispute_id=draft.dispute_id or "",
    )
    page.emit(draft.about, payment.account_id, event)
    return movement


def _kept(page: Page, payment_id: str, outcome: Literal["booked", "repeated"]) -> PaymentKept:
    payment = page.payments.get(payment_id)
    return PaymentKept(
        payment_id=payment_id,
        account_id=None if payment is None else payment.account_id,
        outcome="waiting" if payment is None else outcome,
    )


def _bad_id(text: str, field: str) -> Refused | None:
    if 0 < len(text) <= ID_CHARACTERS_MAX:
        return None
    return Refused(
        code="invalid", message=f"must have 1 to {ID_CHARACTERS_MAX} characters", field=field
    )
