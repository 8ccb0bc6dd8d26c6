"""How credentials fare: checks on demand, what dispatchers observe, and what an account is told of it."""

from datetime import datetime
from typing import Literal

import msgspec

from shared.events.envelope import Event
from shared.ids import AccountId, CredentialId

CheckStatus = Literal["ok", "refused", "no_permission", "unreachable", "unknown"]
"""What a check found. `unknown` is a key about which nothing could be learned, as where there is no
adapter for its provider."""


class CheckCredential(Event, frozen=True, kw_only=True):
    """Ask for a check now; answered at once, with the check still pending."""

    account_id: AccountId
    credential_id: CredentialId


class CredentialCheckRequested(Event, frozen=True, kw_only=True):
    """Find out whether the provider takes this revision of a key.

    It holds no key: the dispatcher takes that from `credentials.state`. `requested_at` comes back in
    `CredentialChecked` and names the request.
    """

    account_id: AccountId
    credential_id: CredentialId
    secret_revision: int
    requested_at: datetime


class DeploymentCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one deployment inside a credential, or of one whole Azure resource.

    A resource has `resource_name`; a deployment has the two others.
    """

    model_slug: str | None = None
    model_id: str | None = None
    resource_name: str | None = None
    status: CheckStatus
    message: str
    provider_status: int | None = None


class CredentialChecked(Event, frozen=True, kw_only=True):
    """What a check found, in words for the key's owner; never any of the key.

    `provider_status` is the HTTP status of the provider's answer, null when there was none.
    `deployments` has one entry for each, null where the credential has none; the status is then the
    worst of theirs.
    """

    account_id: AccountId
    credential_id: CredentialId
    secret_revision: int
    requested_at: datetime
    checked_at: datetime
    status: CheckStatus
    message: str
    provider_status: int | None = None
    deployments: list[DeploymentCheck] | None = None


class CredentialError(msgspec.Struct, frozen=True, kw_only=True):
    """A failed call. `failure` is its class (the `reason` of `FallbackDecided`)."""

    failure: str
    provider_status: int | None
    endpoint: str
    at: datetime


class CredentialUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one dispatcher saw of one credential since it last told.

    `attempts` counts calls of the provider, `failures` those that failed for a reason which is not
    the request's own. `cooling_down_until` is the latest of its endpoints, null when it is well.
    """

    credential_id: CredentialId
    attempts: int
    failures: int
    last_used_at: datetime | None = None
    last_success_at: datetime | None = None
    last_error: CredentialError | None = None
    cooling_down_until: datetime | None = None


class CredentialsObserved(Event, frozen=True, kw_only=True):
    """An account's credentials with news, gathered for a second or more; one that is lost is lost.

    What is charged is told on `billing.fees`, not here.
    """

    account_id: AccountId
    observed_at: datetime
    credentials: list[CredentialUse]


class CheckDescription(msgspec.Struct, frozen=True, kw_only=True):
    """The check of a credential's present key: the last one asked for, and what it found."""

    status: CheckStatus | Literal["pending"]
    message: str | None = None
    provider_status: int | None = None
    requested_at: datetime
    checked_at: datetime | None = None
    deployments: list[DeploymentCheck] | None = None


class HealthDescription(msgspec.Struct, frozen=True, kw_only=True):
    """How a credential fares in use. `requests` and `fees_nano_usd` are what billing booked in `month`."""

    last_used_at: datetime | None = None
    last_success_at: datetime | None = None
    last_error: CredentialError | None = None
    cooling_down_until: datetime | None = None
    month: str
    requests: int = 0
    fees_nano_usd: int = 0
