"""Health of credentials at endpoints: pure state and its transitions (design.md section 7).

It belongs to (account, credential, endpoint), so one account's failing key never touches another's.
A refused key is failing at every endpoint at once, written as the endpoint ANY_ENDPOINT. Requests
run side by side: a failure or success only counts against what was known when its attempt began, so
that a burst of thirty 429s is one step of the back-off, not thirty.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from shared.events.routing import HealthChanged, HealthState
from shared.ids import AccountId, CredentialId

ANY_ENDPOINT: Final = "*"
COOL_DOWN_MAX: Final = timedelta(hours=1)
"""The longest Retry-After that is honoured."""
BACK_OFF_FIRST: Final = timedelta(seconds=1)
BACK_OFF_MAX: Final = timedelta(seconds=60)
PROBE_EVERY: Final = timedelta(minutes=5)
QUOTA_COOL_DOWN: Final = timedelta(minutes=10)
BREAKER_AFTER_FAILURES: Final = 3
BREAKER_MAX: Final = timedelta(seconds=30)
ENTRIES_MAX: Final = 100_000
"""Beyond this the entries longest untouched are forgotten: they would be tried and seen again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthKey:
    """Whose health: `account_id` owns the credential."""

    account_id: AccountId
    credential_id: CredentialId
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is wrong. `until` is when it may be tried again, None while only failures are counted."""

    state: HealthState
    reason: FailureClass
    provider_status: int | None
    until: datetime | None
    failures: int
    observed_at: datetime


class HealthTable:
    """What one dispatcher knows. Changes are returned for it to broadcast."""

    def __init__(self) -> None:
        """Everything is healthy to begin with."""
        self._entries: dict[HealthKey, Health] = {}
        self._by_credential: dict[CredentialId, set[HealthKey]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def blocking(self, attempt: Attempt, now: datetime) -> Health | None:
        """Why the attempt must not be made now, or None. Of two reasons the later `until`."""
        if not self._entries:
            return None
        found = [
            health
            for key in _keys_of(attempt)
            if (health := self._entries.get(key)) is not None
            and health.until is not None
            and health.until > now
        ]
        return max(found, key=_until, default=None)

    def begin(self, attempt: Attempt, now: datetime) -> None:
        """An attempt begins. A failing credential gets one probe: others wait for the next."""
        if not self._entries:
            return
        for key in _keys_of(attempt):
            health = self._entries.get(key)
            if health is not None and health.state == "failing":
                self._entries[key] = replace(health, until=now + PROBE_EVERY)

    def succeeded(
        self, attempt: Attempt, *, began_at: datetime, now: datetime
    ) -> tuple[HealthChanged, ...]:
        """An attempt did well; what had been unhealthy before it began has recovered."""
        if not self._entries:
            return ()
        return tuple(self._recover(_keys_of(attempt), began_at, now))

    def checked_well(
        self, attempt: Attempt, *, began_at: datetime, now: datetime
    ) -> tuple[HealthChanged, ...]:
        """A check found the key good: where it was failing it may be tried again at once.

        What cools down goes on cooling, since a check says nothing about limits. A credential without
        deployments is good at all of its endpoints, another at the one that was tried.
        """
        if attempt.credential.deployments is None:
            keys = tuple(self._by_credential.get(attempt.credential.credential_id, ()))
        else:
            keys = _keys_of(attempt)
        failing = [
            key
            for key in keys
            if (health := self._entries.get(key)) is not None and health.state == "failing"
        ]
        return tuple(self._recover(failing, began_at, now))

    def resting_until(
        self, account_id: AccountId, credential_id: CredentialId, now: datetime
    ) -> datetime | None:
        """When the last of a credential's endpoints may be tried again; None when all may be."""
        ends = (
            self._entries[key].until
            for key in self._by_credential.get(credential_id, ())
            if key.account_id == account_id
        )
        return max((end for end in ends if end is not None and end > now), default=None)

    def _recover(
        self, keys: Iterable[HealthKey], began_at: datetime, now: datetime
    ) -> Iterator[HealthChanged]:
        for key in keys:
            health = self._entries.get(key)
            if health is None or health.observed_at > began_at:
                continue
            self._drop(key)
            if health.until is not None:
                yield HealthChanged(
                    account_id=key.account_id,
                    credential_id=key.credential_id,
                    endpoint=key.endpoint,
                    state="recovered",
                    reason=health.reason,
                    observed_at=now,
                )

    def failed(
        self, attempt: Attempt, failure: ProviderFailure, *, began_at: datetime, now: datetime
    ) -> HealthChanged | None:
        """An attempt failed; the change to broadcast, or None when nothing others need to know."""
        endpoint = attempt.endpoint.id
        if failure.failure is FailureClass.KEY_REFUSED and attempt.credential.deployments is None:
            endpoint = ANY_ENDPOINT
        key = _key(attempt, endpoint)
        known = self._entries.get(key)
        same_wave = known is not None and known.observed_at > began_at
        before = 0 if known is None else known.failures - 1 if same_wave else known.failures
        health = _health_after(failure, before, now)
        if health is None:
            return None
        if same_wave and known is not None and known.until is not None:
            if health.until is None or health.until <= known.until:
                return None
            health = replace(health, observed_at=known.observed_at)
        self._put(key, health)
        if health.until is None:
            return None
        return HealthChanged(
            account_id=key.account_id,
            credential_id=key.credential_id,
            endpoint=key.endpoint,
            state=health.state,
            reason=health.reason.value,
            provider_status=health.provider_status,
            until=health.until,
            failures=health.failures,
            observed_at=now,
        )

    def heard(self, change: HealthChanged) -> None:
        """Another dispatcher saw a change. An older observation than ours changes nothing."""
        key = HealthKey(
            account_id=change.account_id,
            credential_id=change.credential_id,
            endpoint=change.endpoint,
        )
        known = self._entries.get(key)
        if known is not None and known.observed_at > change.observed_at:
            return
        if change.state == "recovered":
            self._drop(key)
            return
        self._put(
            key,
            Health(
                state=change.state,
                reason=_reason(change.reason),
                provider_status=change.provider_status,
                until=change.until,
                failures=change.failures,
                observed_at=change.observed_at,
            ),
        )

    def forget(self, credential_id: CredentialId) -> None:
        """The credential was changed or deleted: what was known of it no longer holds."""
        for key in self._by_credential.pop(credential_id, ()):
            del self._entries[key]

    def _put(self, key: HealthKey, health: Health) -> None:
        self._entries.pop(key, None)
        self._entries[key] = health
        self._by_credential.setdefault(key.credential_id, set()).add(key)
        if len(self._entries) > ENTRIES_MAX:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: HealthKey) -> None:
        if self._entries.pop(key, None) is None:
            return
        keys = self._by_credential[key.credential_id]
        keys.discard(key)
        if not keys:
            del self._by_credential[key.credential_id]


def _health_after(failure: ProviderFailure, failures_before: int, now: datetime) -> Health | None:
    """The health that a failure leaves, or None when it says nothing about key and endpoint."""
    failures = failures_before + 1
    state: HealthState = "cooling_down"
    until: datetime | None = None
    match failure.failure:
        case FailureClass.KEY_REFUSED | FailureClass.PERMISSION_DENIED | FailureClass.MISCONFIGURED:
            state = "failing"
            until = now + PROBE_EVERY
        case FailureClass.RATE_LIMITED:
            until = now + _cool_down(failure, failures, BACK_OFF_MAX)
        case FailureClass.QUOTA_EXHAUSTED:
            until = now + QUOTA_COOL_DOWN
        case (
            FailureClass.PROVIDER_ERROR
            | FailureClass.TIMED_OUT
            | FailureClass.UNREACHABLE
            | FailureClass.STREAM_CUT
        ):
            if failure.retry_after_seconds is not None:
                until = now + _cool_down(failure, failures, BREAKER_MAX)
            elif failures >= BREAKER_AFTER_FAILURES:
                until = now + _doubling(failures - BREAKER_AFTER_FAILURES + 1, BREAKER_MAX)
        case _:
            return None
    return Health(
        state=state,
        reason=failure.failure,
        provider_status=failure.status,
        until=until,
        failures=failures,
        observed_at=now,
    )


def _cool_down(failure: ProviderFailure, failures: int, longest: timedelta) -> timedelta:
    if failure.retry_after_seconds is None:
        return _doubling(failures, longest)
    asked_seconds = min(max(failure.retry_after_seconds, 0.0), COOL_DOWN_MAX.total_seconds())
    return max(timedelta(seconds=asked_seconds), BACK_OFF_FIRST)


def _doubling(step: int, longest: timedelta) -> timedelta:
    return min(BACK_OFF_FIRST * (1 << min(step - 1, 16)), longest)


def _keys_of(attempt: Attempt) -> tuple[HealthKey, HealthKey]:
    return _key(attempt, attempt.endpoint.id), _key(attempt, ANY_ENDPOINT)


def _key(attempt: Attempt, endpoint: str) -> HealthKey:
    return HealthKey(
        account_id=attempt.credential.account_id,
        credential_id=attempt.credential.credential_id,
        endpoint=endpoint,
    )


def _until(health: Health) -> datetime:
    if health.until is None:
        raise ValueError("only what blocks has an end")
    return health.until


def _reason(reason: str) -> FailureClass:
    try:
        return FailureClass(reason)
    except ValueError:  # a newer dispatcher's word
        return FailureClass.PROVIDER_ERROR
