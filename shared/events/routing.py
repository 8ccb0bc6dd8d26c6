"""What routing decided and noticed: fallbacks, and the health of credentials at endpoints."""

from datetime import datetime
from typing import Literal

import msgspec

from shared.events.envelope import Event
from shared.events.generations import Tier
from shared.ids import AccountId, CredentialId, GenerationId, RunId


class AttemptTarget(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint and whose key it is called with; `credential_id` is null for shared capacity."""

    provider: str
    endpoint: str
    credential_id: CredentialId | None
    tier: Tier


class FallbackDecided(Event, frozen=True, kw_only=True):
    """An attempt failed in a way that lets the next one of the plan be tried.

    `reason` is the class of the failure (design.md section 7), `provider_status` the HTTP status
    that the provider answered with, or null when it did not answer.
    """

    generation_id: GenerationId
    run_id: RunId
    account_id: AccountId
    model: str
    from_: AttemptTarget = msgspec.field(name="from")
    to: AttemptTarget
    reason: str
    provider_status: int | None


HealthState = Literal["cooling_down", "failing", "recovered"]


class HealthChanged(Event, frozen=True, kw_only=True):
    """Health of one credential at one endpoint, as one dispatcher saw it.

    `until` is when it may be tried again. `failures` counts in a row, for the next back-off.
    `account_id` is the credential's owner: one account's failing key never touches another's.
    """

    account_id: AccountId
    credential_id: CredentialId
    endpoint: str
    state: HealthState
    reason: str
    provider_status: int | None = None
    until: datetime | None = None
    failures: int = 0
    observed_at: datetime
