"""Whether a BYOK request is surely waived, so that nobody need be asked (design.md section 6)."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from shared.events.billing import AccountBalance
from shared.ids import AccountId

AMPLE_MARGIN_REQUESTS: Final = 1_000
RECENT_SECONDS: Final = 300.0
_SAMPLE_SECONDS: Final = 10.0
_ACCOUNTS_MAX: Final = 100_000


def surely_waived(
    balance: AccountBalance | None, *, is_fresh: bool, month: str, used_recently: int
) -> bool:
    """True when so much of the month's allotment is left that other dispatchers cannot use it up.

    `month` is the one in which the generation started. Without fresh state, ask billing.
    """
    if balance is None or not is_fresh or balance.month != month:
        return False
    left = balance.free_requests - balance.allotment_used
    return left > AMPLE_MARGIN_REQUESTS + used_recently


@dataclass(frozen=True, slots=True)
class FeeExpected:
    """What a BYOK request would be charged with, as far as it is known without asking billing."""

    percent: Decimal
    waived: bool | None
    """None when billing decides it as the attempt begins."""


def fee_expected(
    balance: AccountBalance | None, *, is_fresh: bool, month: str, used_recently: int
) -> FeeExpected | None:
    """The fee of a BYOK request that starts now, in `month`; None when billing was never heard."""
    if balance is None:
        return None
    if surely_waived(balance, is_fresh=is_fresh, month=month, used_recently=used_recently):
        return FeeExpected(balance.fee_percent, waived=True)
    is_used_up = balance.allotment_used >= balance.free_requests
    known = is_fresh and is_used_up and balance.month == month
    return FeeExpected(balance.fee_percent, waived=False if known else None)


class RecentUse:
    """How much of its allotment each account used in the last five minutes, from its states."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._samples: OrderedDict[AccountId, deque[tuple[float, str, int]]] = OrderedDict()

    def observe(self, balance: AccountBalance, at_seconds: float) -> None:
        """A new state of an account; `at_seconds` is of a monotonic clock."""
        samples = self._samples.get(balance.account_id)
        if samples is None:
            samples = self._samples[balance.account_id] = deque()
            if len(self._samples) > _ACCOUNTS_MAX:
                self._samples.popitem(last=False)
        if samples and at_seconds - samples[-1][0] < _SAMPLE_SECONDS:
            return
        samples.append((at_seconds, balance.month, balance.allotment_used))
        # keep one sample older than the window: it says what had been used when the window began
        while len(samples) > 1 and samples[1][0] <= at_seconds - RECENT_SECONDS:
            samples.popleft()

    def used(self, balance: AccountBalance, at_seconds: float) -> int:
        """What was used in the window up to the state given."""
        samples = self._samples.get(balance.account_id)
        if not samples:
            return 0
        while len(samples) > 1 and samples[1][0] <= at_seconds - RECENT_SECONDS:
            samples.popleft()
        _, month, used_then = samples[0]
        if month != balance.month:
            used_then = 0
        return max(0, balance.allotment_used - used_then)
