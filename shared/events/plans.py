"""The plan of a request, asked for by people: what would be tried, and why all else would not."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from shared.events.envelope import CallReply, Event
from shared.events.generations import Tier
from shared.events.usage import Prices
from shared.ids import AccountId, ApiKeyHash, CredentialId, MemberId

LeftOutReason = Literal[
    "disabled",
    "filter",
    "no_endpoint",
    "no_shared_capacity",
    "cooling_down",
    "failing",
    "always_use",
    "byok_only",
    "provider_preferences",
    "require_parameters",
    "allow_fallbacks",
    "no_adapter",
    "attempts_max",
]
FilterName = Literal["model", "api_key_hash", "member"]


class ExplainPlan(Event, frozen=True, kw_only=True):
    """What would be tried for a completion that this API key asks for now?

    The fields are those of `CompletionRequested` and of the request's own provider preferences;
    `byok_only` is already the sum of the account's, the API key's and the request's own.
    """

    account_id: AccountId
    api_key_hash: ApiKeyHash
    member_id: MemberId | None = None
    models: tuple[str, ...]
    byok_only: bool = False
    order: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None
    allow_fallbacks: bool = True


class PlannedCredential(msgspec.Struct, frozen=True, kw_only=True):
    """One of the account's own credentials. `label` is the key masked to its last characters."""

    credential_id: CredentialId
    label: str


class PlannedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One call that would be made; `credential` is None for shared capacity."""

    model: str
    provider: str
    provider_name: str
    endpoint: str
    tier: Tier
    credential: PlannedCredential | None
    prices: Prices


class AttemptLeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What would not be tried, and why.

    `endpoint` is None where a credential, or all shared capacity of a provider, is left out before
    endpoints are looked at. `filter` is the filter that does not match, `until` when it may be tried
    again, `failure` and `provider_status` what the provider did to the account's own key, and
    `forbidden_by` whose `always_use` keeps off shared capacity.
    """

    model: str
    provider: str
    endpoint: str | None = None
    tier: Tier
    credential: PlannedCredential | None
    reason: LeftOutReason
    filter: FilterName | None = None
    failure: str | None = None
    provider_status: int | None = None
    until: datetime | None = None
    forbidden_by: tuple[PlannedCredential, ...] = ()


class ByokFee(msgspec.Struct, frozen=True, kw_only=True):
    """The fee of an own key's request; `waived` is None when billing decides as it begins."""

    percent: Decimal
    waived: bool | None


class PlanExplained(CallReply, frozen=True, kw_only=True):
    """Answers `ExplainPlan`: attempts in the order in which they would be made.

    `byok_fee` is None while billing has not told of the account.
    """

    attempts: tuple[PlannedAttempt, ...]
    left_out: tuple[AttemptLeftOut, ...]
    byok_fee: ByokFee | None
