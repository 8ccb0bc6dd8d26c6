"""How a credential fares: what dispatchers saw of it, and what billing booked for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from shared.events.credential_health import (
    CredentialError,
    CredentialsObserved,
    HealthDescription,
)
from shared.events.envelope import Event
from shared.events.fees import ChargeReversed, FeeDeducted, FeeWaived
from shared.ids import AccountId, CredentialId

Key: TypeAlias = tuple[AccountId, CredentialId]
UsageKey: TypeAlias = tuple[AccountId, CredentialId, str]
"""Account, credential and month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The newest that was seen in use. `observed_at` is when `cooling_down_until` was so."""

    last_used_at: datetime | None = None
    last_success_at: datetime | None = None
    last_error: CredentialError | None = None
    cooling_down_until: datetime | None = None
    observed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Requests that were booked, and their fees. Differences may be negative."""

    requests: int = 0
    fees_nano_usd: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            requests=self.requests + other.requests,
            fees_nano_usd=self.fees_nano_usd + other.fees_nano_usd,
        )


def observed_in(events: Iterable[CredentialsObserved]) -> dict[Key, Observed]:
    """The newest of each credential in a batch, sorted by key."""
    newest: dict[Key, Observed] = {}
    for event in events:
        for use in event.credentials:
            key = (event.account_id, use.credential_id)
            seen = Observed(
                last_used_at=use.last_used_at,
                last_success_at=use.last_success_at,
                last_error=use.last_error,
                cooling_down_until=use.cooling_down_until,
                observed_at=event.observed_at,
            )
            known = newest.get(key)
            newest[key] = seen if known is None else _newer(known, seen)
    return dict(sorted(newest.items()))


def _newer(one: Observed, other: Observed) -> Observed:
    errors = [each.last_error for each in (one, other) if each.last_error is not None]
    last = max((one, other), key=lambda each: each.observed_at)
    return Observed(
        last_used_at=_latest(one.last_used_at, other.last_used_at),
        last_success_at=_latest(one.last_success_at, other.last_success_at),
        last_error=max(errors, key=lambda each: each.at, default=None),
        cooling_down_until=last.cooling_down_until,
        observed_at=last.observed_at,
    )


def _latest(*moments: datetime | None) -> datetime | None:
    return max((each for each in moments if each is not None), default=None)


def usage_in(events: Sequence[Event]) -> dict[UsageKey, Usage]:
    """What a batch of billing's facts adds to each credential and month, sorted by key."""
    added: dict[UsageKey, Usage] = {}
    for event in events:
        usage: Usage
        match event:
            case FeeDeducted() | FeeWaived():
                usage = Usage(requests=1, fees_nano_usd=event.fee_nano_usd)
            case ChargeReversed():
                given_back = event.amount_nano_usd + event.uncollected_nano_usd
                usage = Usage(requests=-1, fees_nano_usd=-given_back)
            case _:
                continue
        if event.credential_id is not None:
            key = (event.account_id, event.credential_id, event.month)
            added[key] = added.get(key, Usage()) + usage
    return dict(sorted(added.items()))


def describe_health(
    observed: Observed | None, usage: Usage | None, month: str, now: datetime
) -> HealthDescription:
    """What the account is told; a cool-down that is over is not told."""
    usage = usage or Usage()
    if observed is None:
        return HealthDescription(
            month=month, requests=usage.requests, fees_nano_usd=usage.fees_nano_usd
        )
    until = observed.cooling_down_until
    return HealthDescription(
        last_used_at=observed.last_used_at,
        last_success_at=observed.last_success_at,
        last_error=observed.last_error,
        cooling_down_until=until if until is not None and until > now else None,
        month=month,
        requests=usage.requests,
        fees_nano_usd=usage.fees_nano_usd,
    )
