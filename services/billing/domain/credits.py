"""Credits come in, once for each key."""

from services.billing.domain.ledger import LedgerAccount, TransferKind
from services.billing.domain.page import Page, TopUp
from shared.events.billing import AddCredits, CreditsAdded, CreditsKept
from shared.events.envelope import CallReply, Refused

AMOUNT_NANO_USD_MAX = 1_000_000_000 * 1_000_000_000
"""A billion dollars at once is a slip of the keyboard."""
KEY_CHARACTERS_MAX = 256


def add_credits(page: Page, command: AddCredits, month: str) -> CallReply:
    """Top an account up, or say again what was done under the same key."""
    if not 0 < command.amount_nano_usd <= AMOUNT_NANO_USD_MAX:
        return Refused(
            code="invalid",
            message="must be above zero and at most a billion dollars",
            field="amount_nano_usd",
        )
    if not 0 < len(command.key) <= KEY_CHARACTERS_MAX:
        return Refused(
            code="invalid", message=f"must have 1 to {KEY_CHARACTERS_MAX} characters", field="key"
        )
    known = page.top_ups.get((command.account_id, command.key))
    if known is not None and known.amount_nano_usd != command.amount_nano_usd:
        return Refused(
            code="conflict",
            message="this key was used with another amount; take a new key for a new top-up",
            field="key",
        )
    if known is None:
        _add(page, command, month)
    return CreditsKept(
        account_id=command.account_id,
        amount_nano_usd=command.amount_nano_usd,
        credits_nano_usd=page.account(command.account_id).available_nano_usd,
        repeated=known is not None,
    )


def _add(page: Page, command: AddCredits, month: str) -> None:
    top_up = TopUp(
        account_id=command.account_id, key=command.key, amount_nano_usd=command.amount_nano_usd
    )
    about = f"credit/{command.account_id}/{command.key}"
    page.top_ups[top_up.account_id, top_up.key] = top_up
    page.entries.top_ups.append(top_up)
    page.book(
        TransferKind.TOP_UP,
        command.account_id,
        command.amount_nano_usd,
        debit=LedgerAccount.CASH_IN,
        credit=LedgerAccount.CUSTOMER_CREDITS,
        about=about,
        month=month,
    )
    page.emit(
        about,
        command.account_id,
        CreditsAdded(
            account_id=command.account_id,
            amount_nano_usd=command.amount_nano_usd,
            key=command.key,
            credits_nano_usd=page.account(command.account_id).available_nano_usd,
        ),
    )
