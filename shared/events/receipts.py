"""Questions about what was used and paid, and billing's answers: receipts, activity, credits.

Amounts are integer nano-USD. Days are UTC days of the moment at which a generation started.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from shared.events.envelope import CallReply, Event
from shared.events.generations import AttemptReceipt, Operation, RequestOrigin
from shared.events.usage import Prices, Usage
from shared.ids import AccountId, ApiKeyHash, CredentialId, GenerationId, RunId

ActivityGroup = Literal["api_key_hash", "credential_id"]
"""What the rows of a day, model and endpoint can be divided by."""


class QueryReceipt(Event, frozen=True, kw_only=True):
    """The receipt of one generation of this account."""

    account_id: AccountId
    generation_id: GenerationId


class QueryReceipts(Event, frozen=True, kw_only=True):
    """Receipts of generations that started on days from `first_day` to `last_day`, oldest first.

    At most `limit` of them, after the generation `after`. A filter of None restricts nothing.
    """

    account_id: AccountId
    first_day: date
    last_day: date
    after: GenerationId | None = None
    limit: int
    api_key_hash: ApiKeyHash | None = None
    credential_id: CredentialId | None = None
    model: str | None = None


class QueryActivity(Event, frozen=True, kw_only=True):
    """What was used from `first_day` to `last_day`, by day, model, endpoint and operation.

    `group_by` divides these rows further. `api_key_hashes` None means all keys.
    """

    account_id: AccountId
    first_day: date
    last_day: date
    api_key_hashes: tuple[ApiKeyHash, ...] | None = None
    credential_id: CredentialId | None = None
    model: str | None = None
    group_by: tuple[ActivityGroup, ...] = ()


class QueryCredits(Event, frozen=True, kw_only=True):
    """What came in, what was used, what is left."""

    account_id: AccountId


ChargeKind = Literal["nothing", "fee_waived", "fee_deducted", "credits_charged"]


class Charge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was booked for a generation, as it stands in the ledger.

    `list_cost_nano_usd` is 0 when nothing was charged. `fee_percent` is what an own key's attempt
    was promised, None when its fee was waived. `uncollected_nano_usd` is what credits did not cover.
    `reversed_because` says why all of it was given back: then it is a charge of nothing.
    """

    kind: ChargeKind
    list_cost_nano_usd: int = 0
    fee_percent: Decimal | None = None
    collected_nano_usd: int = 0
    uncollected_nano_usd: int = 0
    reversed_because: str | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is known of one generation that ended.

    `abandoned` is one that ended with an error of ours: without `run_id` nothing else was ever heard
    of it. The fields are those of `GenerationFinished`.
    """

    generation_id: GenerationId
    account_id: AccountId
    outcome: Literal["completed", "failed", "cancelled", "abandoned"]
    charge: Charge
    run_id: RunId | None = None
    api_key_hash: ApiKeyHash | None = None
    is_byok: bool = False
    operation: Operation = "chat"
    requested_model: str | None = None
    model: str | None = None
    provider: str | None = None
    endpoint: str | None = None
    credential_id: CredentialId | None = None
    usage: Usage | None = None
    prices: Prices | None = None
    attempts: tuple[AttemptReceipt, ...] = ()
    streamed: bool = False
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    first_token_ms: int | None = None
    service_tier: str | None = None
    origin: RequestOrigin | None = None
    started_at: datetime
    finished_at: datetime
    posted_at: datetime


class ReceiptFound(CallReply, frozen=True, kw_only=True):
    """Answers `QueryReceipt`."""

    receipt: Receipt


class ReceiptsListed(CallReply, frozen=True, kw_only=True):
    """Answers `QueryReceipts`; `is_last` says that nothing comes after them."""

    receipts: tuple[Receipt, ...]
    is_last: bool


class ActivityRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Generations that delivered something and were not given back, added up.

    `api_key_hash` and `credential_id` are None where the question did not divide by them; the
    `credential_id` of shared capacity is empty.
    """

    day: date
    model: str
    provider: str
    endpoint: str
    operation: Operation = "chat"
    api_key_hash: ApiKeyHash | None = None
    credential_id: CredentialId | None = None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    credits_nano_usd: int
    byok_list_cost_nano_usd: int


class ActivityListed(CallReply, frozen=True, kw_only=True):
    """Answers `QueryActivity`, newest day first."""

    rows: tuple[ActivityRow, ...]


class CreditsTold(CallReply, frozen=True, kw_only=True):
    """Answers `QueryCredits`: `added` minus `used` is `available` and `held` together."""

    added_nano_usd: int
    used_nano_usd: int
    available_nano_usd: int
    held_nano_usd: int
