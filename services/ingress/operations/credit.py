"""`credit`: top up an account."""

from services.ingress.operations.connections import Connections
from services.ingress.operations.outcomes import BadInput, Outcome, account_id_of
from shared.errors import Unavailable
from shared.events.billing import AddCredits, CreditsKept
from shared.events.envelope import Refused
from shared.events.topics import BILLING_COMMANDS
from shared.money import usd_string


async def add(
    connections: Connections, account: str, *, amount_nano_usd: int, key: str | None
) -> Outcome:
    """Add credits once, however often the same `key` is used."""
    account_id = account_id_of(account)
    if not await connections.accounts.exists(account_id):
        raise BadInput(f"there is no account {account_id}")
    command = AddCredits(
        account_id=account_id,
        amount_nano_usd=amount_nano_usd,
        key=connections.new_id() if key is None else key,
    )
    match await connections.ask(BILLING_COMMANDS, command, key=account_id, callee="billing"):
        case CreditsKept() as kept:
            return Outcome(
                printed={
                    "account_id": account_id,
                    "amount": usd_string(kept.amount_nano_usd),
                    "credits": usd_string(kept.credits_nano_usd),
                    "repeated": kept.repeated,
                }
            )
        case Refused() as refused:
            raise BadInput(refused.message)
        case reply:
            raise Unavailable("billing", f"unexpected answer {type(reply).__name__}")
