"""What one dispatcher has seen of credentials in use since it last told; pure state, bounded.

Noting costs the request path a look into a dictionary and a few assignments.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import (
    REFUSED_BY_BILLING,
    FailureClass,
    ProviderFailure,
)
from shared.events.credential_health import CredentialError, CredentialsObserved, CredentialUse
from shared.events.credentials import CredentialChanged
from shared.ids import AccountId, CredentialId

CREDENTIALS_MAX: Final = 20_000
"""Credentials with news; of further ones nothing is noted until the news have been told."""

Key = tuple[AccountId, CredentialId]
_REQUESTS_OWN_FAULT: Final = frozenset(
    {
        FailureClass.INVALID_REQUEST,
        FailureClass.CONTENT_REFUSED,
        FailureClass.CONTEXT_TOO_LONG,
    }
)


@dataclass(slots=True)
class Seen:
    """The news of one credential."""

    attempts: int = 0
    failures: int = 0
    last_used_at: datetime | None = None
    last_success_at: datetime | None = None
    last_error: CredentialError | None = None


class Observations:
    """Gathers until taken."""

    def __init__(self) -> None:
        """Nothing is seen yet."""
        self._seen: dict[Key, Seen] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def ended(
        self,
        attempt: Attempt,
        failure: ProviderFailure | None,
        *,
        began_at: datetime,
        now: datetime,
    ) -> None:
        """An attempt ended; without a failure it did well."""
        if failure is not None and failure.failure in REFUSED_BY_BILLING:
            return  # billing refused it: the provider was not called
        seen = self._of(attempt.credential)
        if seen is None:
            return
        seen.attempts += 1
        seen.last_used_at = began_at
        if failure is None:
            seen.last_success_at = now
        elif failure.failure not in _REQUESTS_OWN_FAULT:
            seen.failures += 1
            seen.last_error = CredentialError(
                failure=failure.failure.value,
                provider_status=failure.status,
                endpoint=attempt.endpoint.id,
                at=now,
            )

    def interrupted(self, attempt: Attempt, *, began_at: datetime) -> None:
        """An attempt was broken off by us or by the client: used, neither well nor badly."""
        seen = self._of(attempt.credential)
        if seen is not None:
            seen.attempts += 1
            seen.last_used_at = began_at

    def health_changed(self, credential: CredentialChanged) -> None:
        """A check changed its health, which is to be told though it was not used."""
        _ = self._of(credential)

    def take(self) -> Mapping[Key, Seen]:
        """Everything seen; from now on anew."""
        taken, self._seen = self._seen, {}
        return taken

    def put_back(self, taken: Mapping[Key, Seen]) -> None:
        """What was taken could not be told: keep it under what was seen meanwhile."""
        for key, old in taken.items():
            new = self._seen.get(key)
            if new is None:
                if len(self._seen) < CREDENTIALS_MAX:
                    self._seen[key] = old
                continue
            new.attempts += old.attempts
            new.failures += old.failures
            new.last_used_at = new.last_used_at or old.last_used_at
            new.last_success_at = new.last_success_at or old.last_success_at
            new.last_error = new.last_error or old.last_error

    def _of(self, credential: CredentialChanged) -> Seen | None:
        key = (credential.account_id, credential.credential_id)
        seen = self._seen.get(key)
        if seen is None and len(self._seen) < CREDENTIALS_MAX:
            seen = self._seen[key] = Seen()
        return seen


def observed(
    taken: Mapping[Key, Seen],
    resting_until: Callable[[AccountId, CredentialId], datetime | None],
    now: datetime,
) -> list[CredentialsObserved]:
    """One event for each account with news."""
    by_account: defaultdict[AccountId, list[CredentialUse]] = defaultdict(list)
    for (account_id, credential_id), seen in taken.items():
        by_account[account_id].append(
            CredentialUse(
                credential_id=credential_id,
                attempts=seen.attempts,
                failures=seen.failures,
                last_used_at=seen.last_used_at,
                last_success_at=seen.last_success_at,
                last_error=seen.last_error,
                cooling_down_until=resting_until(account_id, credential_id),
            )
        )
    return [
        CredentialsObserved(account_id=account_id, observed_at=now, credentials=credentials)
        for account_id, credentials in by_account.items()
    ]
