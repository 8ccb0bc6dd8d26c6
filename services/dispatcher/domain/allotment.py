"""Whether a BYOK request is surely waived, so that nobody need be asked (design.md section 6).

An allotment is measured in requests or in nano-USD of list cost, as the account's state says; what
is said here of "used" is in its measure.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from shared.events.billing import AccountBalance, AllotmentRule
from shared.ids import AccountId
from shared.money import NANO_PER_USD

AMPLE_MARGIN_REQUESTS: Final = 1_000
AMPLE_MARGIN_NANO_USD: Final = 100 * NANO_PER_USD
"""A thousand requests of ten cents: what may be running without billing knowing of it yet."""
RECENT_SECONDS: Final = 300.0
_MARGINS: Final[Mapping[AllotmentRule, int]] = MappingProxyType(
    {"requests": AMPLE_MARGIN_REQUESTS, "list_cost": AMPLE_MARGIN_NANO_USD}
)
_SAMPLE_SECONDS: Final = 10.0
_ACCOUNTS_MAX: Final = 100_000


def surely_waived(
    balance: AccountBalance, *, is_fresh: bool, is_of_its_month: bool, used_recently: int
) -> bool:
    """True when so much of the month's allotment is left that other dispatchers cannot use it up.

    `is_of_its_month`: the generation started in the month that the state is of. Without fresh
    state, ask billing.
    """
    if not is_fresh or not is_of_its_month:
        return False
    return _left(balance) > _MARGINS[balance.allotment_rule] + used_recently


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
    is_of_its_month = balance.month == month
    if surely_waived(
        balance,
        is_fresh=is_fresh,
        is_of_its_month=is_of_its_month,
        used_recently=used_recently,
    ):
        return FeeExpected(balance.fee_percent, waived=True)
    known = is_fresh and _left(balance) <= 0 and is_of_its_month
    return FeeExpected(balance.fee_percent, waived=False if known else None)


def _left(balance: AccountBalance) -> int:
    if balance.allotment_rule == "requests":
        return balance.free_requests - balance.allotment_used
    return balance.free_list_cost_nano_usd - balance.list_cost_used_nano_usd


def _used(balance: AccountBalance) -> int:
    if balance.allotment_rule == "requests":
        return balance.allotment_used
    return balance.list_cost_used_nano_usd


@dataclass(frozen=True, slots=True)
class _Sample:
    at_seconds: float
    month: str
    rule: AllotmentRule
    used: int


class RecentUse:
    """How much of its allotment each account used in the last five minutes, from its states."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._samples: OrderedDict[AccountId, deque[_Sample]] = OrderedDict()

    def observe(self, balance: AccountBalance, at_seconds: float) -> None:
        """A new state of an account; `at_seconds` is of a monotonic clock."""
        samples = self._samples.get(balance.account_id)
        if samples is None:
            samples = self._samples[balance.account_id] = deque()
            if len(self._samples) > _ACCOUNTS_MAX:
                self._samples.popitem(last=False)
        if samples and at_seconds - samples[-1].at_seconds < _SAMPLE_SECONDS:
            return
        samples.append(_Sample(at_seconds, balance.month, balance.allotment_rule, _used(balance)))
        # keep one sample older than the window: it says what had been used when the window began
        while len(samples) > 1 and samples[1].at_seconds <= at_seconds - RECENT_SECONDS:
            samples.popleft()

    def used(self, balance: AccountBalance, at_seconds: float) -> int:
        """What was used in the window up to the state given."""
        samples = self._samples.get(balance.account_id)
        if not samples:
            return 0
        while len(samples) > 1 and samples[1].at_seconds <= at_seconds - RECENT_SECONDS:
            samples.popleft()
        then = samples[0]
        is_alike = then.month == balance.month and then.rule == balance.allotment_rule
        # of another month or rule nothing is known: all of this one's may have been just now
        return max(0, _used(balance) - (then.used if is_alike else 0))
