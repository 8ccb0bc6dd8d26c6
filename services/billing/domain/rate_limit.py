"""Rate limits of shared capacity, for each account and provider: requests and tokens a minute.

The minutes are those of the clock, each a row of its own. Such a fixed window, unlike a leaking
bucket, counts exactly, says in plain numbers what remains and when it begins anew, and takes back
what was reserved too much. Its price: around the turn of a minute twice the limit may pass.

Requests count as they are admitted. Tokens are reserved at the worst case, and put right when their
generation is posted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from services.billing.domain.hold import Hold
from shared.events.accounts import SharedLimit
from shared.events.billing import RateLimitReached
from shared.ids import AccountId

ANY_PROVIDER: Final = "default"
"""The slug that stands for every provider without limits of its own."""
_MINUTE: Final = timedelta(minutes=1)

LimitsByProvider = Mapping[str, SharedLimit]


class RateWindow(NamedTuple):
    """One minute, which begins at `minute`, of one account at one provider."""

    account_id: AccountId
    provider: str
    minute: datetime


@dataclass(frozen=True, slots=True)
class RateUse:
    """What was used of a minute, tokens of what runs at their worst case."""

    requests: int = 0
    tokens: int = 0

    def plus(self, requests: int, tokens: int) -> "RateUse":
        """After some more, or less."""
        return RateUse(self.requests + requests, self.tokens + tokens)


@dataclass(frozen=True, slots=True)
class SharedCapacity:
    """The installation's limits, and the minute that now is."""

    installation: LimitsByProvider
    minute: datetime


NO_LIMITS: Final[LimitsByProvider] = MappingProxyType({})


@dataclass(slots=True)
class SharedUse:
    """A page's minutes: `used` as they stand, `added` what is to be added to their rows.

    `own` are the limits of accounts that have some.
    """

    own: dict[AccountId, LimitsByProvider] = field(default_factory=dict)
    used: dict[RateWindow, RateUse] = field(default_factory=dict)
    added: dict[RateWindow, RateUse] = field(default_factory=dict)

    def refusal(
        self, hold: Hold, replaced: Hold | None, capacity: SharedCapacity
    ) -> RateLimitReached | None:
        """Why a hold must not be opened in its minute; `replaced` gives its tokens back."""
        window = window_of(hold)
        if window is None:
            return None
        limit = limit_of(
            hold.provider, self.own.get(hold.account_id, NO_LIMITS), capacity.installation
        )
        used = self.used.get(window, RateUse())
        if replaced is not None and window_of(replaced) == window:
            used = used.plus(0, -replaced.worst_case_tokens)
        if limit.requests_per_minute is not None and used.requests >= limit.requests_per_minute:
            return _reached("requests", limit.requests_per_minute, used.requests, window)
        tokens_max = limit.tokens_per_minute
        if tokens_max is not None and used.tokens + hold.worst_case_tokens > tokens_max:
            return _reached("tokens", tokens_max, used.tokens, window)
        return None

    def opened(self, hold: Hold) -> None:
        """A request is admitted, its tokens at the worst case."""
        self._add(hold, 1, hold.worst_case_tokens)

    def closed(self, hold: Hold, used_tokens: int) -> None:
        """An attempt has ended: its tokens are as many as it used."""
        self._add(hold, 0, used_tokens - hold.worst_case_tokens)

    def _add(self, hold: Hold, requests: int, tokens: int) -> None:
        window = window_of(hold)
        if window is None or not (requests or tokens):
            return
        for minutes in (self.used, self.added):
            minutes[window] = minutes.get(window, RateUse()).plus(requests, tokens)


def window_of(hold: Hold) -> RateWindow | None:
    """The minute that a hold counts in; None for own keys, which have the limits of their provider."""
    if hold.rate_minute is None:
        return None
    return RateWindow(hold.account_id, hold.provider, hold.rate_minute)


def minute_of(now: datetime) -> datetime:
    """The beginning of the minute."""
    return now.replace(second=0, microsecond=0)


def limit_of(provider: str, own: LimitsByProvider, installation: LimitsByProvider) -> SharedLimit:
    """The limit that holds: of the account before the installation, of the provider before `default`."""
    found = [
        limits[name]
        for limits in (own, installation)
        for name in (provider, ANY_PROVIDER)
        if name in limits
    ]
    return SharedLimit(
        requests_per_minute=_first(each.requests_per_minute for each in found),
        tokens_per_minute=_first(each.tokens_per_minute for each in found),
    )


def _first(numbers: Iterable[int | None]) -> int | None:
    return next((each for each in numbers if each is not None), None)


def _reached(
    counted: Literal["requests", "tokens"], limit: int, used: int, window: RateWindow
) -> RateLimitReached:
    return RateLimitReached(
        counted=counted,
        limit=limit,
        remaining=max(0, limit - used),
        resets_at=window.minute + _MINUTE,
    )
