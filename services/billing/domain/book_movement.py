"""Books one movement of credits: its transfers, its row, its event."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.billing.domain.ledger import LedgerAccount, TransferKind
from services.billing.domain.movement import Movement, MovementKind
from services.billing.domain.page import Page
from shared.events.billing import CreditsKept
from shared.events.envelope import CallReply, Refused
from shared.events.fees import CreditsAdded, CreditsRefunded
from shared.ids import AccountId

AMOUNT_NANO_USD_MAX = 1_000_000_000 * 1_000_000_000
"""A billion dollars at once is a slip of the keyboard."""
KEY_CHARACTERS_MAX = 256
RETURN_PREFIX = "return/"
"""Begins the keys under which what goes back of payments is booked; no one else's may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A movement that is not booked yet."""

    account_id: AccountId
    key: str
    kind: MovementKind
    input_hash: str
    reason: str | None = None
    reference: str | None = None
    payment_id: str | None = None
    dispute_id: str | None = None

    @property
    def about(self) -> str:
        """What its transfers and its event are about."""
        return f"credit/{self.account_id}/{self.key}"


@dataclass(frozen=True, slots=True)
class Posting:
    """One transfer of a movement."""

    kind: TransferKind
    amount_nano_usd: int
    debit: LedgerAccount
    credit: LedgerAccount


def bad_amount(amount_nano_usd: int) -> Refused | None:
    """The refusal of an amount that cannot come in or go back; None when it can."""
    if 0 < amount_nano_usd <= AMOUNT_NANO_USD_MAX:
        return None
    return Refused(
        code="invalid",
        message="must be above zero and at most a billion dollars",
        field="amount_nano_usd",
    )


def given_before(page: Page, draft: Draft) -> CallReply | None:
    """The answer when the draft's key cannot or need not be booked; None when it must."""
    if not 0 < len(draft.key) <= KEY_CHARACTERS_MAX or draft.key.startswith(RETURN_PREFIX):
        return Refused(
            code="invalid",
            message=f"must have 1 to {KEY_CHARACTERS_MAX} characters and not begin with "
            f"{RETURN_PREFIX}",
            field="key",
        )
    known = page.movements.get((draft.account_id, draft.key))
    if known is None:
        return None
    if known.input_hash != draft.input_hash:
        return Refused(
            code="conflict",
            message="this key was used for something else; take a new key for a new movement",
            field="key",
        )
    after = known.credits_nano_usd
    return CreditsKept(
        account_id=known.account_id,
        amount_nano_usd=known.amount_nano_usd,
        credits_nano_usd=(
            page.account(known.account_id).available_nano_usd if after is None else after
        ),
        repeated=True,
        uncollected_nano_usd=known.uncollected_nano_usd,
    )


def add(page: Page, draft: Draft, amount_nano_usd: int, month: str) -> Movement:
    """Book credits that come in."""
    is_cash = draft.kind is MovementKind.CASH
    posting = Posting(
        TransferKind.TOP_UP if is_cash else TransferKind.PROMOTION,
        amount_nano_usd,
        LedgerAccount.CASH_IN if is_cash else LedgerAccount.PROMOTIONS,
        LedgerAccount.CUSTOMER_CREDITS,
    )
    movement = move(page, draft, [posting], month)
    event = CreditsAdded(
        account_id=draft.account_id,
        amount_nano_usd=amount_nano_usd,
        key=draft.key,
        credits_nano_usd=page.account(draft.account_id).available_nano_usd,
        kind="cash" if is_cash else "promotion",
        payment_id=draft.payment_id,
    )
    page.emit(draft.about, draft.account_id, event)
    return movement


def refund(page: Page, draft: Draft, amount_nano_usd: int, month: str) -> Movement:
    """Book money that goes back: from available credits as far as they go, the rest uncollected."""
    available = page.account(draft.account_id).available_nano_usd
    collected = min(amount_nano_usd, available)
    uncollected = amount_nano_usd - collected
    postings = [
        Posting(
            TransferKind.REFUND,
            collected,
            LedgerAccount.CUSTOMER_CREDITS,
            LedgerAccount.CASH_IN,
        ),
        Posting(
            TransferKind.REFUND_NOT_COLLECTED,
            uncollected,
            LedgerAccount.UNCOLLECTED,
            LedgerAccount.CASH_IN,
        ),
    ]
    movement = move(page, draft, postings, month, uncollected_nano_usd=uncollected)
    event = CreditsRefunded(
        account_id=draft.account_id,
        amount_nano_usd=collected,
        uncollected_nano_usd=uncollected,
        key=draft.key,
        credits_nano_usd=available - collected,
        reason=draft.reason,
        payment_id=draft.payment_id,
        dispute_id=draft.dispute_id,
    )
    page.emit(draft.about, draft.account_id, event)
    return movement


def move(
    page: Page,
    draft: Draft,
    postings: Sequence[Posting],
    month: str,
    *,
    uncollected_nano_usd: int = 0,
) -> Movement:
    """Book the transfers and write the movement down."""
    account_id = draft.account_id
    before = page.account(account_id).available_nano_usd
    for posting in postings:
        page.book(
            posting.kind,
            account_id,
            posting.amount_nano_usd,
            debit=posting.debit,
            credit=posting.credit,
            about=draft.about,
            month=month,
        )
    after = page.account(account_id).available_nano_usd
    movement = Movement(
        account_id=account_id,
        key=draft.key,
        kind=draft.kind,
        input_hash=draft.input_hash,
        amount_nano_usd=after - before,
        credits_nano_usd=after,
        uncollected_nano_usd=uncollected_nano_usd,
        reason=draft.reason,
        reference=draft.reference,
        payment_id=draft.payment_id,
    )
    page.write_down(movement)
    return movement


def kept(movement: Movement) -> CreditsKept:
    """The answer to what was booked just now."""
    return CreditsKept(
        account_id=movement.account_id,
        amount_nano_usd=movement.amount_nano_usd,
        credits_nano_usd=movement.credits_nano_usd or 0,
        repeated=False,
        uncollected_nano_usd=movement.uncollected_nano_usd,
    )
