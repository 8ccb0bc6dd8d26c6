"""What an API key has spent, and what its account may still spend."""

from dataclasses import dataclass
from datetime import datetime

from services.ingress.domain.api_key import Caller
from services.ingress.ports import Balances, Billing
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.billing import AccountBalance, AllotmentRule, QuerySpending, Spending
from shared.ids import month_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """The month's BYOK use whose fee is waived: requests, or nano-USD of list cost, by its rule.

    `used` includes what is reserved for running requests.
    """

    rule: AllotmentRule
    month: str
    free: int
    used: int

    @property
    def left(self) -> int:
        """How much is left."""
        return max(0, self.free - self.used)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDescription:
    """`credits_nano_usd` and `allotment` are None while billing does not know the account.

    `limit_resets_at` is when the next window of the key's limit begins, None when none does.
    """

    caller: Caller
    spending: Spending
    limit_resets_at: datetime | None
    credits_nano_usd: int | None
    allotment: Allotment | None


class DescribeKey:
    """Asks billing."""

    def __init__(self, *, billing: Billing, balances: Balances, clock: Clock) -> None:
        """`balances` may be a little behind; spending is asked for."""
        self._billing = billing
        self._balances = balances
        self._clock = clock

    async def of(self, caller: Caller) -> KeyDescription:
        """Everything about the caller's own key. Raises Unavailable("billing")."""
        spending = await self._billing.ask(
            QuerySpending(account_id=caller.account_id, api_key_hash=caller.api_key_hash),
            account_id=caller.account_id,
        )
        if not isinstance(spending, Spending):
            raise Unavailable("billing", f"unexpected answer {type(spending).__name__}")
        now = self._clock.now()
        limit_resets_at = caller.limit.resets_at(now)
        balance = self._balances.get(caller.account_id)
        if balance is None:
            return KeyDescription(
                caller=caller,
                spending=spending,
                limit_resets_at=limit_resets_at,
                credits_nano_usd=None,
                allotment=None,
            )
        return KeyDescription(
            caller=caller,
            spending=spending,
            limit_resets_at=limit_resets_at,
            credits_nano_usd=balance.credits_nano_usd,
            allotment=_allotment(balance, month_of(now)),
        )


def _allotment(balance: AccountBalance, month: str) -> Allotment:
    is_by_requests = balance.allotment_rule == "requests"
    used = balance.allotment_used if is_by_requests else balance.list_cost_used_nano_usd
    return Allotment(
        rule=balance.allotment_rule,
        month=month,
        free=balance.free_requests if is_by_requests else balance.free_list_cost_nano_usd,
        # a new month begins at zero, whether or not billing has said so yet
        used=used if balance.month == month else 0,
    )
