"""The check of a credential's key: when one is under way, and what its account is told."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.key_vault.domain.credential import Credential
from shared.events.credential_health import (
    CheckDescription,
    CheckStatus,
    CredentialChecked,
    CredentialCheckRequested,
    DeploymentCheck,
)

PENDING_MAX: Final = timedelta(seconds=60)
"""A check without a result after this is lost, as when its dispatcher was killed. Longer than the
dispatcher's own deadlines together."""
_LOST: Final = "The check did not come to an end. Check again."


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a check found."""

    status: CheckStatus
    message: str
    provider_status: int | None
    checked_at: datetime
    deployments: list[DeploymentCheck] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The last check asked for; `result` is None as long as there is none."""

    secret_revision: int
    requested_at: datetime
    result: CheckResult | None


def request_of(credential: Credential, now: datetime) -> CredentialCheckRequested:
    """What a dispatcher is asked."""
    return CredentialCheckRequested(
        account_id=credential.account_id,
        credential_id=credential.credential_id,
        secret_revision=credential.secret_revision,
        requested_at=now,
    )


def result_of(checked: CredentialChecked) -> CheckResult:
    """What of the event is kept."""
    return CheckResult(
        status=checked.status,
        message=checked.message,
        provider_status=checked.provider_status,
        checked_at=checked.checked_at,
        deployments=checked.deployments,
    )


def is_under_way(check: Check | None, credential: Credential, now: datetime) -> bool:
    """Whether a result for the present key is still to be expected."""
    return (
        check is not None
        and check.result is None
        and check.secret_revision == credential.secret_revision
        and now - check.requested_at < PENDING_MAX
    )


def describe_check(check: Check | None, now: datetime) -> CheckDescription | None:
    """What the account is told; None when no check was ever asked for."""
    if check is None:
        return None
    result = check.result
    if result is not None:
        return CheckDescription(
            status=result.status,
            message=result.message,
            provider_status=result.provider_status,
            requested_at=check.requested_at,
            checked_at=result.checked_at,
            deployments=result.deployments,
        )
    if now - check.requested_at < PENDING_MAX:
        return CheckDescription(status="pending", requested_at=check.requested_at)
    return CheckDescription(status="unknown", message=_LOST, requested_at=check.requested_at)
