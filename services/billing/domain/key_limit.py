"""Limits of API keys: what a key may still spend in the window that a generation belongs to.

No counter is ever reset. What was spent in a window is the sum of the key's days in the books
(`spending_days`), of which a window is a range; what is reserved is the worst case of its open holds.
So a limit set today knows what was spent before it, and a generation counts where it started.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import assert_never

from services.billing.domain.generation import day_of_generation
from services.billing.domain.hold import Hold
from shared.events.billing import ApiKeyLimit, LimitReset
from shared.ids import ApiKeyHash

_SURELY_NEXT_MONTH = timedelta(days=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimit:
    """What an API key may spend in each window, in nano-USD of credits; None: as much as there is.

    With `include_byok` the list cost of what own keys did counts beside what credits paid.
    """

    api_key_hash: ApiKeyHash
    limit_nano_usd: int | None
    limit_reset: LimitReset | None
    include_byok: bool
    version: int


def told_limit(api_key_hash: ApiKeyHash, told: ApiKeyLimit) -> KeyLimit:
    """A limit that came with a request."""
    return KeyLimit(
        api_key_hash=api_key_hash,
        limit_nano_usd=told.limit_nano_usd,
        limit_reset=told.limit_reset,
        include_byok=told.include_byok,
        version=told.version,
    )


def newest_limits(limits: Iterable[KeyLimit]) -> dict[ApiKeyHash, KeyLimit]:
    """Of what is known of each key and what was told with requests, the newest state."""
    newest: dict[ApiKeyHash, KeyLimit] = {}
    for limit in limits:
        known = newest.get(limit.api_key_hash)
        if known is None or known.version < limit.version:
            newest[limit.api_key_hash] = limit
    return newest


@dataclass(frozen=True, slots=True)
class Window:
    """UTC days from `first` up to, but without, `next_first`."""

    first: date
    next_first: date


ALL_DAYS = Window(date.min, date.max)


def window_of(reset: LimitReset | None, day: date) -> Window:
    """The window that a day lies in: its day, week from Monday, month, or all days."""
    match reset:
        case None:
            return ALL_DAYS
        case "daily":
            return Window(day, day + timedelta(days=1))
        case "weekly":
            monday = day - timedelta(days=day.weekday())
            return Window(monday, monday + timedelta(days=7))
        case "monthly":
            first = day.replace(day=1)
            return Window(first, (first + _SURELY_NEXT_MONTH).replace(day=1))
        case _:
            assert_never(reset)


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What counts in one window of one key: posted, and reserved by what runs. Nano-USD."""

    spent_nano_usd: int = 0
    reserved_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class KeyAllowance:
    """A key's limit, the window it is asked for, and what is left there: below zero when overdrawn."""

    limit: KeyLimit
    limit_nano_usd: int
    window: Window
    left_nano_usd: int


@dataclass(slots=True)
class KeyLimits:
    """The limits of a page's API keys; `uses` holds the windows of the page's generations.

    Keys that never had a limit are in neither, those that have none now have no uses.
    """

    limits: dict[ApiKeyHash, KeyLimit] = field(default_factory=dict)
    uses: dict[tuple[ApiKeyHash, Window], KeyUse] = field(default_factory=dict)

    def allowance(self, api_key_hash: ApiKeyHash, day: date) -> KeyAllowance | None:
        """What the key may still spend for generations of a day; None without a limit."""
        limit = self.limits.get(api_key_hash)
        if limit is None or limit.limit_nano_usd is None:
            return None
        window = window_of(limit.limit_reset, day)
        use = self.uses.get((api_key_hash, window), KeyUse())
        left = limit.limit_nano_usd - use.spent_nano_usd - use.reserved_nano_usd
        return KeyAllowance(limit, limit.limit_nano_usd, window, left)

    def opened(self, hold: Hold) -> None:
        """A hold reserves its worst case."""
        self._reserve(hold, 1)

    def closed(self, hold: Hold) -> None:
        """A hold that ended reserves nothing; what it cost is in the key's day."""
        self._reserve(hold, -1)

    def _reserve(self, hold: Hold, sign: int) -> None:
        limit = self.limits.get(hold.api_key_hash)
        if limit is None:
            return
        window = window_of(limit.limit_reset, day_of_generation(hold.generation_id))
        use = self.uses.get((hold.api_key_hash, window), KeyUse())
        self.uses[hold.api_key_hash, window] = KeyUse(
            use.spent_nano_usd, use.reserved_nano_usd + sign * counted(hold, limit)
        )


def counted(hold: Hold, limit: KeyLimit) -> int:
    """What of a limit a hold reserves: the credits it holds and, where that counts, the list cost."""
    return hold.amount_nano_usd + (
        hold.worst_case_nano_usd if hold.is_byok and limit.include_byok else 0
    )
