"""Credits come in and go out, once for each key: top-ups, refunds, corrections."""

from services.billing.domain.book_movement import (
    AMOUNT_NANO_USD_MAX,
    Draft,
    Posting,
    add,
    bad_amount,
    given_before,
    kept,
    move,
    refund,
)
from services.billing.domain.ledger import LedgerAccount, TransferKind
from services.billing.domain.movement import MovementKind, input_hash
from services.billing.domain.page import Page
from shared.events.billing import AddCredits, CorrectCredits, RefundCredits
from shared.events.envelope import CallReply, Refused
from shared.events.fees import CreditsCorrected
from shared.money import usd_string

TEXT_CHARACTERS_MAX = 500


def add_credits(page: Page, command: AddCredits, month: str) -> CallReply:
    """Top an account up, or say again what was done under the same key."""
    kind = MovementKind(command.kind)
    draft = Draft(
        account_id=command.account_id,
        key=command.key,
        kind=kind,
        input_hash=input_hash(kind, command.amount_nano_usd),
    )
    answer = bad_amount(command.amount_nano_usd) or given_before(page, draft)
    return answer or kept(add(page, draft, command.amount_nano_usd, month))


def refund_credits(page: Page, command: RefundCredits, month: str) -> CallReply:
    """Give cash back: from available credits as far as they go, the rest uncollected.

    `page.cash` has the account.
    """
    draft = Draft(
        account_id=command.account_id,
        key=command.key,
        kind=MovementKind.REFUND,
        input_hash=input_hash(MovementKind.REFUND, command.amount_nano_usd, reason=command.reason),
        reason=command.reason,
    )
    answer = (
        bad_amount(command.amount_nano_usd)
        or _bad_text(command.reason, "reason")
        or given_before(page, draft)
    )
    if answer is not None:
        return answer
    cash = page.cash.get(command.account_id, 0)
    if command.amount_nano_usd > cash:
        return Refused(
            code="conflict",
            message=f"of what was paid in, ${usd_string(max(cash, 0))} has not gone back yet",
            field="amount_nano_usd",
        )
    return kept(refund(page, draft, command.amount_nano_usd, month))


def correct_credits(page: Page, command: CorrectCredits, month: str) -> CallReply:
    """Give or take credits; no more can be taken than are available."""
    amount, account_id = command.amount_nano_usd, command.account_id
    draft = Draft(
        account_id=account_id,
        key=command.key,
        kind=MovementKind.CORRECTION,
        input_hash=input_hash(
            MovementKind.CORRECTION, amount, reason=command.reason, reference=command.reference
        ),
        reason=command.reason,
        reference=command.reference,
    )
    answer = (
        _bad_correction(amount)
        or _bad_text(command.reason, "reason")
        or _bad_text(command.reference, "reference")
        or given_before(page, draft)
    )
    if answer is not None:
        return answer
    available = page.account(account_id).available_nano_usd
    if -amount > available:
        return Refused(
            code="conflict",
            message=f"${usd_string(available)} of credits are available, and no more can be taken",
            field="amount_nano_usd",
        )
    debit, credit = LedgerAccount.CORRECTIONS, LedgerAccount.CUSTOMER_CREDITS
    if amount < 0:
        debit, credit = credit, debit
    posting = Posting(TransferKind.CORRECTION, abs(amount), debit, credit)
    movement = move(page, draft, [posting], month)
    event = CreditsCorrected(
        account_id=account_id,
        amount_nano_usd=movement.amount_nano_usd,
        key=movement.key,
        credits_nano_usd=page.account(account_id).available_nano_usd,
        reason=command.reason,
        reference=command.reference,
    )
    page.emit(draft.about, account_id, event)
    return kept(movement)


def _bad_correction(amount_nano_usd: int) -> Refused | None:
    if 0 < abs(amount_nano_usd) <= AMOUNT_NANO_USD_MAX:
        return None
    return Refused(
        code="invalid",
        message="must not be zero, and at most a billion dollars either way",
        field="amount_nano_usd",
    )


def _bad_text(text: str | None, field: str) -> Refused | None:
    if text is None or 0 < len(text) <= TEXT_CHARACTERS_MAX:
        return None
    return Refused(
        code="invalid", message=f"must have 1 to {TEXT_CHARACTERS_MAX} characters", field=field
    )
