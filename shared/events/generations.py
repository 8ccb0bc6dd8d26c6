"""Facts about generations that are over: what billing charges and anyone may count."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from shared.events.envelope import Event
from shared.events.usage import Prices, Usage
from shared.ids import AccountId, ApiKeyHash, CredentialId, GenerationId, HoldId, RunId

Tier = Literal["prioritized", "shared", "fallback"]
"""Where in the plan an attempt stood: own keys first, shared capacity, own keys kept for last."""

Operation = Literal["chat", "embeddings"]
"""What a generation makes: a completion of messages, or a vector for each text."""


class RequestOrigin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client says of itself in its headers, printable and cut; a referer without its query.

    `external_user` and `session_id` are what it names its own user and session by: identifiers of at
    most 256 characters without control characters, as it gave them.
    """

    http_referer: str | None = None
    app_title: str | None = None
    user_agent: str | None = None
    external_user: str | None = None
    session_id: str | None = None


class AttemptReceipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call of one endpoint with one credential; `failure` is None when it succeeded.

    `credential_label` is the key masked to its last characters as it was then. `prices` are list
    prices at the time, told of attempts that failed: those of the one that answered are the
    generation's own. `upstream_id` is the provider's own id of what it answered, by which it can be
    asked about it: at most 256 characters of printable ASCII. `usage` is what the provider counted of
    an attempt that failed all the same, such as the batches of embeddings that were done: it costs
    whoever's key it was at the provider, and nobody is charged for it here.
    """

    provider: str
    endpoint: str
    model: str
    tier: Tier
    credential_id: CredentialId | None = None
    credential_label: str | None = None
    status: int | None = None
    failure: str | None = None
    latency_ms: int
    prices: Prices | None = None
    upstream_id: str | None = None
    usage: Usage | None = None


class Spend(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the winning attempt was promised before it began.

    `waived` and `fee_percent` are for BYOK; `hold_id` is None when the allotment was so ample that
    nobody had to ask.
    """

    hold_id: HoldId | None = None
    waived: bool = False
    fee_percent: Decimal | None = None


class GenerationFinished(Event, frozen=True, kw_only=True):
    """A run ended: completed, failed, or cancelled by the client. Acknowledged before the last frame.

    `model`, `provider`, `endpoint`, `credential_id` and `prices` are of the attempt that answered and
    None when none did; `credential_id` is None for shared capacity. `usage` is None when nothing
    was delivered; that of embeddings has no completion tokens. `requested_model` is the first that the
    client named, None when its request could not be read; `first_token_ms` counts from `started_at`.
    """

    generation_id: GenerationId
    run_id: RunId
    account_id: AccountId
    api_key_hash: ApiKeyHash
    operation: Operation = "chat"
    outcome: Literal["completed", "failed", "cancelled"]
    is_byok: bool = False
    model: str | None = None
    provider: str | None = None
    endpoint: str | None = None
    credential_id: CredentialId | None = None
    usage: Usage | None = None
    prices: Prices | None = None
    spend: Spend | None = None
    attempts: tuple[AttemptReceipt, ...]
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    streamed: bool = False
    started_at: datetime
    finished_at: datetime
    requested_model: str | None = None
    first_token_ms: int | None = None
    service_tier: str | None = None
    origin: RequestOrigin | None = None


class GenerationAbandoned(Event, frozen=True, kw_only=True):
    """The ingress ended the answer with an error of ours: nothing of it may be charged.

    It beats `GenerationFinished`, whichever billing sees first.
    """

    generation_id: GenerationId
    account_id: AccountId
    reason: str
