"""Checking a credential: what is tried, what is told of it, and what requests learn from it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.dispatcher.domain.attempt import Attempt, Endpoint
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.finding import Finding
from shared.events.credential_health import (
    CheckStatus,
    CredentialChecked,
    CredentialCheckRequested,
    DeploymentCheck,
)
from shared.events.credentials import CredentialChanged
from shared.events.usage import Prices

_FREE: Final = Prices(prompt=0, completion=0)
_WORST_FIRST: Final[tuple[CheckStatus, ...]] = (
    "refused",
    "no_permission",
    "unreachable",
    "unknown",
    "ok",
)


def attempts_to_check(credential: CredentialChanged) -> tuple[Attempt, ...]:
    """The calls that prove a credential: each deployment and whole resource, or one without either.

    An attempt without a model is of the key alone.
    """
    if credential.deployments is None:
        return (_attempt(credential, "", ""),)
    return (
        *(_attempt(credential, each.model_slug, each.model_id) for each in credential.deployments),
        *(_attempt(credential, "", "", each.resource_name) for each in credential.resources),
    )


def _attempt(
    credential: CredentialChanged, model: str, provider_model: str, resource: str | None = None
) -> Attempt:
    name = provider_model if resource is None else f"{resource}/"
    return Attempt(
        model=model,
        endpoint=Endpoint(
            id=f"{credential.provider}/{name}",
            provider=credential.provider,
            provider_name=credential.provider,
            provider_model=provider_model,
            prices=_FREE,
            context_length_tokens=1,
            output_tokens_max=1,
            resource=resource,
        ),
        credential=credential,
        tier=credential.section,
    )


def tells_of_health(failure: ProviderFailure, attempt: Attempt) -> bool:
    """Whether requests would fail in the same way, so that they need not try.

    Without a deployment only the key itself was tried, not what it may do with any model.
    """
    if failure.failure is FailureClass.KEY_REFUSED:
        return True
    return bool(attempt.endpoint.provider_model) and failure.failure in {
        FailureClass.PERMISSION_DENIED,
        FailureClass.MISCONFIGURED,
        FailureClass.QUOTA_EXHAUSTED,
    }


def checked(
    asked: CredentialCheckRequested,
    credential: CredentialChanged | None,
    findings: Sequence[Finding],
    now: datetime,
) -> CredentialChecked:
    """The event: the worst of what was found, and each deployment where all were looked at."""
    worst = min(findings, key=lambda each: _WORST_FIRST.index(each.status))
    deployments = _deployments(credential, findings)
    return CredentialChecked(
        account_id=asked.account_id,
        credential_id=asked.credential_id,
        secret_revision=asked.secret_revision,
        requested_at=asked.requested_at,
        checked_at=now,
        status=worst.status,
        message=worst.message if deployments is None else _of_all(deployments, worst),
        provider_status=worst.provider_status,
        deployments=deployments,
    )


def _deployments(
    credential: CredentialChanged | None, findings: Sequence[Finding]
) -> list[DeploymentCheck] | None:
    if credential is None or credential.deployments is None:
        return None
    places: list[tuple[str | None, str | None, str | None]] = [
        *((each.model_slug, each.model_id, None) for each in credential.deployments),
        *((None, None, each.resource_name) for each in credential.resources),
    ]
    if len(places) != len(findings):
        return None  # the whole credential could not be looked at
    return [
        DeploymentCheck(
            model_slug=model_slug,
            model_id=model_id,
            resource_name=resource_name,
            status=found.status,
            message=found.message,
            provider_status=found.provider_status,
        )
        for (model_slug, model_id, resource_name), found in zip(places, findings, strict=True)
    ]


def _of_all(deployments: Sequence[DeploymentCheck], worst: Finding) -> str:
    if len(deployments) == 1:
        return worst.message
    what = "deployments" if all(each.model_id for each in deployments) else "places"
    if worst.status == "ok":
        return f"All {len(deployments)} {what} answer."
    bad = [each for each in deployments if each.status != "ok"]
    first = next(each for each in bad if each.status == worst.status)
    name = first.model_id or first.resource_name
    return f"{len(bad)} of {len(deployments)} {what}: {name}: {first.message}"
