"""An operator moves an account's credits: billing books it, once for its key."""

from services.ingress.domain import credit_forms, refusals
from services.ingress.domain.credit_forms import Movement
from services.ingress.domain.refusals import Refusal
from services.ingress.ports import Accounts, Billing
from shared.errors import Unavailable
from shared.events.billing import CreditsKept
from shared.events.envelope import Refused


class MoveCredits:
    """Asks billing, for accounts that exist."""

    def __init__(self, *, accounts: Accounts, billing: Billing) -> None:
        """Billing keeps books for any id; `accounts` says which are accounts."""
        self._accounts = accounts
        self._billing = billing

    async def __call__(self, movement: Movement) -> CreditsKept | Refusal:
        """What was booked, now or before. Raises Unavailable: the same key may then be used again."""
        account_id = movement.account_id
        if not await self._accounts.exists(account_id):
            return refusals.not_found(f"there is no account {account_id}")
        match await self._billing.ask(movement, account_id=account_id):
            case CreditsKept() as kept:
                return kept
            case Refused() as refused:
                return credit_forms.refusal_of(refused)
            case reply:
                raise Unavailable("billing", f"unexpected answer {type(reply).__name__}")
