"""Rate limits of shared capacity, for each account and provider: requests and tokens in any minute.

The window slides: no 60 seconds hold more than the limit, wherever they begin. What is used is counted
by the second, each a row of its own, and what a second holds counts until it is surely 60 seconds old,
at the end of the 61st. That counts exactly, says in plain numbers what remains and when enough is
free again, and takes back what was reserved too much, unlike a leaking bucket.

Requests count as they are admitted. Tokens are reserved at the worst case, and put right when their
generation is posted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from services.billing.domain.hold import Hold
from shared.events.accounts import SharedLimit
from shared.events.billing import RateLimitReached
from shared.ids import AccountId

ANY_PROVIDER: Final = "default"
"""The slug that stands for every provider without limits of its own."""
WINDOW_SECONDS: Final = 60
COUNTED_SECONDS: Final = WINDOW_SECONDS + 1
"""From the beginning of a second until nothing in it lies within the last 60 seconds."""

LimitsByProvider = Mapping[str, SharedLimit]


class SharedUser(NamedTuple):
    """One account at one provider."""

    account_id: AccountId
    provider: str


class RateSecond(NamedTuple):
    """One second, counted since 1970, of one account at one provider."""

    account_id: AccountId
    provider: str
    second: int


class RateUse(NamedTuple):
    """What was used, tokens of what runs at their worst case."""

    requests: int = 0
    tokens: int = 0

    def plus(self, requests: int, tokens: int) -> "RateUse":
        """After some more, or less."""
        return RateUse(self.requests + requests, self.tokens + tokens)


@dataclass(slots=True)
class UsedSeconds:
    """What was used in each second that counts."""

    requests: dict[int, int] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)


NO_LIMITS: Final[LimitsByProvider] = MappingProxyType({})


@dataclass(slots=True)
class SharedUse:
    """A page's use of shared capacity: `used` the seconds that count, `added` what is new to their rows.

    `now` is the second at hand by the database's clock, which all processes share; None where no
    use was asked for. `own` are the limits of accounts that have some.
    """

    now: int | None = None
    own: dict[AccountId, LimitsByProvider] = field(default_factory=dict)
    used: dict[SharedUser, UsedSeconds] = field(default_factory=dict)
    added: dict[RateSecond, RateUse] = field(default_factory=dict)

    def refusal(
        self, hold: Hold, replaced: Hold | None, installation: LimitsByProvider
    ) -> RateLimitReached | None:
        """Why a hold must not be opened in its second; `replaced` gives its tokens back."""
        if hold.rate_second is None:
            return None
        limit = limit_of(hold.provider, self.own.get(hold.account_id, NO_LIMITS), installation)
        used = self.used.get(_user(hold)) or UsedSeconds()
        tokens: Mapping[int, int] = used.tokens
        if replaced is not None and _user(replaced) == _user(hold):
            second = replaced.rate_second
            if second is not None and second in tokens:
                tokens = {**tokens, second: tokens[second] - replaced.worst_case_tokens}
        now, needed = hold.rate_second, hold.worst_case_tokens
        reached = (
            _reached("requests", limit.requests_per_minute, used.requests, 1, now),
            _reached("tokens", limit.tokens_per_minute, tokens, needed, now),
        )
        return max(
            (each for each in reached if each is not None),
            key=lambda each: each.resets_at,
            default=None,
        )

    def opened(self, hold: Hold) -> None:
        """A request is admitted, its tokens at the worst case."""
        self._add(hold, 1, hold.worst_case_tokens)

    def closed(self, hold: Hold, used_tokens: int) -> None:
        """An attempt has ended: its tokens are as many as it used."""
        self._add(hold, 0, used_tokens - hold.worst_case_tokens)

    def _add(self, hold: Hold, requests: int, tokens: int) -> None:
        second = hold.rate_second
        if second is None or not (requests or tokens):
            return
        row = RateSecond(hold.account_id, hold.provider, second)
        self.added[row] = self.added.get(row, RateUse()).plus(requests, tokens)
        used = self.used.setdefault(_user(hold), UsedSeconds())
        if not requests and second not in used.tokens:
            return  # it counts no more, and so gives nothing back
        used.requests[second] = used.requests.get(second, 0) + requests
        used.tokens[second] = used.tokens.get(second, 0) + tokens


def _user(hold: Hold) -> SharedUser:
    return SharedUser(hold.account_id, hold.provider)


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
    counted: Literal["requests", "tokens"],
    limit: int | None,
    seconds: Mapping[int, int],
    needed: int,
    now: int,
) -> RateLimitReached | None:
    """`resets_at` is when enough will have left the window, or a window from now when none suffices."""
    left = used = sum(seconds.values())
    if limit is None or used + needed <= limit:
        return None
    resets_at = now + WINDOW_SECONDS
    if needed <= limit:
        for second, leaves in sorted(seconds.items()):
            left -= leaves
            if left + needed <= limit:
                resets_at = second + COUNTED_SECONDS
                break
    return RateLimitReached(
        counted=counted,
        limit=limit,
        remaining=max(0, limit - used),
        resets_at=datetime.fromtimestamp(resets_at, UTC),
    )
