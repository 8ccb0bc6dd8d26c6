"""`credit`, `refund` and `correct`: what goes into an account's credits and out of them."""

from services.ingress.domain import credit_forms
from services.ingress.domain.credit_forms import Movement
from services.ingress.operations.connections import Connections
from services.ingress.operations.outcomes import BadInput, Outcome, account_id_of
from shared.errors import Unavailable
from shared.events.billing import AddCredits, CorrectCredits, CreditsKept, RefundCredits
from shared.events.envelope import Refused
from shared.events.topics import BILLING_COMMANDS


async def add(
    connections: Connections,
    account: str,
    *,
    amount_nano_usd: int,
    key: str | None,
    is_promotion: bool = False,
) -> Outcome:
    """Add credits once, however often the same `key` is used."""
    command = AddCredits(
        account_id=account_id_of(account),
        amount_nano_usd=amount_nano_usd,
        key=_key(connections, key),
        kind="promotion" if is_promotion else "cash",
    )
    return await _move(connections, command)


async def refund(
    connections: Connections,
    account: str,
    *,
    amount_nano_usd: int,
    key: str | None,
    reason: str | None,
) -> Outcome:
    """Book money that went back to the customer."""
    command = RefundCredits(
        account_id=account_id_of(account),
        amount_nano_usd=amount_nano_usd,
        key=_key(connections, key),
        reason=reason,
    )
    return await _move(connections, command)


async def correct(
    connections: Connections,
    account: str,
    *,
    amount_nano_usd: int,
    key: str | None,
    reason: str,
    reference: str | None,
) -> Outcome:
    """Give credits, or take them, because something was booked wrong."""
    command = CorrectCredits(
        account_id=account_id_of(account),
        amount_nano_usd=amount_nano_usd,
        key=_key(connections, key),
        reason=reason,
        reference=reference,
    )
    return await _move(connections, command)


async def _move(connections: Connections, command: Movement) -> Outcome:
    account_id = command.account_id
    if not await connections.accounts.exists(account_id):
        raise BadInput(f"there is no account {account_id}")
    match await connections.ask(BILLING_COMMANDS, command, key=account_id, callee="billing"):
        case CreditsKept() as kept:
            return Outcome(printed=dict(credit_forms.to_wire(kept)))
        case Refused() as refused:
            raise BadInput(refused.message)
        case reply:
            raise Unavailable("billing", f"unexpected answer {type(reply).__name__}")


def _key(connections: Connections, key: str | None) -> str:
    return connections.new_id() if key is None else key
