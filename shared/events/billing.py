"""Billing: commands and answers, and the account's published state.

Amounts are integer nano-USD.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from shared.events.envelope import CallReply, Event, Heartbeat, StateEvent
from shared.ids import AccountId, ApiKeyHash, GenerationId, HoldId, RunId

AllotmentRule = Literal["requests", "list_cost"]
"""By what a month's waived BYOK use is measured: successful requests, or their list cost."""
LimitReset: TypeAlias = Literal["daily", "weekly", "monthly"]
"""When an API key's limit begins anew: at midnight UTC of each day, Monday, or first of the month."""

SPENDING_KEYS_MAX: Final = 100
"""API keys that one question may name."""


class ApiKeyLimit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An API key's limit as ingress knew it when a request came: the one of `ApiKeyChanged` at `version`.

    `limit_nano_usd` None is a limit that was taken away.
    """

    version: int
    limit_nano_usd: int | None = None
    limit_reset: LimitReset | None = None
    include_byok: bool = False


class AuthorizeSpend(Event, frozen=True, kw_only=True):
    """May this attempt begin? Reserves a waived slot or the worst-case fee (BYOK), or the worst case.

    `worst_case_nano_usd` is the list cost of the largest possible answer, `worst_case_tokens` the
    tokens of prompt and answer. The hold is replaced by that of a later attempt of the same
    generation, and expires at `hold_until`. `api_key_limit` is what `CompletionRequested` said of it;
    billing goes by the newer of that and what it heard itself.
    """

    hold_id: HoldId
    generation_id: GenerationId
    run_id: RunId
    account_id: AccountId
    api_key_hash: ApiKeyHash
    is_byok: bool
    provider: str
    worst_case_nano_usd: int
    worst_case_tokens: int = 0
    hold_until: datetime
    api_key_limit: ApiKeyLimit | None = None


class ReleaseHolds(Event, frozen=True, kw_only=True):
    """Nothing will be charged for this generation; sticks even when it comes first."""

    generation_id: GenerationId
    account_id: AccountId
    reason: str


class SpendAuthorized(CallReply, frozen=True, kw_only=True):
    """The attempt may begin, at exactly this promise: the posting will honour it."""

    hold_id: HoldId
    waived: bool
    fee_percent: Decimal | None = None


class KeyLimitReached(msgspec.Struct, frozen=True, kw_only=True):
    """The limit of an API key that refused. What runs already counts with its worst case.

    `limit_reset` and `resets_at` are None for a limit that never begins anew.
    """

    limit_nano_usd: int
    left_nano_usd: int
    limit_reset: LimitReset | None
    resets_at: datetime | None


class RateLimitReached(msgspec.Struct, frozen=True, kw_only=True):
    """The limit of shared capacity that refused: this many requests or tokens in any 60 seconds.

    `resets_at` is when enough will be that old; for what the limit never allows, in 60 seconds.
    """

    counted: Literal["requests", "tokens"]
    limit: int
    remaining: int
    resets_at: datetime


class SpendRefused(CallReply, frozen=True, kw_only=True):
    """The attempt may not begin.

    `needed_nano_usd` of credits would be held and `available_nano_usd` are there, or are left of the
    key's limit. `affordable_nano_usd` is the largest worst case that credits and limit allow.
    """

    code: Literal["insufficient_credits", "already_ended", "key_limit_exceeded", "rate_limited"]
    message: str
    needed_nano_usd: int
    available_nano_usd: int
    affordable_nano_usd: int | None = None
    key_limit: KeyLimitReached | None = None
    rate_limit: RateLimitReached | None = None


class HoldsReleased(CallReply, frozen=True, kw_only=True):
    """Answers `ReleaseHolds`."""

    generation_id: GenerationId


class AddCredits(Event, frozen=True, kw_only=True):
    """Top up an account; `key` makes it idempotent: the same key again changes nothing.

    All movements of an account's credits share one space of keys. A promotion was never paid for.
    """

    account_id: AccountId
    amount_nano_usd: int
    key: str
    kind: Literal["cash", "promotion"] = "cash"


class RefundCredits(Event, frozen=True, kw_only=True):
    """Money goes back to who paid it: at most what came in as cash and has not gone back yet.

    It is taken from the credits that are available; what they do not cover is not collected.
    """

    account_id: AccountId
    amount_nano_usd: int
    key: str
    reason: str | None = None


class CorrectCredits(Event, frozen=True, kw_only=True):
    """Give credits (above zero) or take them, because something was booked wrong.

    `reference` names the generation or transfer that it is about.
    """

    account_id: AccountId
    amount_nano_usd: int
    key: str
    reason: str
    reference: str | None = None


class CreditsKept(CallReply, frozen=True, kw_only=True):
    """Answers `AddCredits`, `RefundCredits` and `CorrectCredits`, the same whenever it is given.

    `amount_nano_usd` is how the credits changed, `credits_nano_usd` what they then were;
    `uncollected_nano_usd` is the part of a refund that they did not cover. `repeated` says that the
    key had been used before, for the same.
    """

    account_id: AccountId
    amount_nano_usd: int
    credits_nano_usd: int
    repeated: bool
    uncollected_nano_usd: int = 0


class QuerySpending(Event, frozen=True, kw_only=True):
    """What was spent with one API key."""

    account_id: AccountId
    api_key_hash: ApiKeyHash


class SpendingPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """Credits spent, and the list cost of BYOK use, in one period."""

    credits_nano_usd: int
    byok_list_cost_nano_usd: int


class Spending(CallReply, frozen=True, kw_only=True):
    """Answers `QuerySpending`, by UTC day, week from Monday, and month."""

    total: SpendingPeriod
    day: SpendingPeriod
    week: SpendingPeriod
    month: SpendingPeriod


class QuerySpendingByKey(Event, frozen=True, kw_only=True):
    """What was spent with each of an account's API keys named here, SPENDING_KEYS_MAX at most."""

    account_id: AccountId
    api_key_hashes: tuple[ApiKeyHash, ...]


class KeySpending(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent with one API key; `last_day` is the UTC day of its last use, None for none."""

    api_key_hash: ApiKeyHash
    spending: Spending
    last_day: date | None = None


class SpendingByKey(CallReply, frozen=True, kw_only=True):
    """Answers `QuerySpendingByKey`, in the order of the question."""

    keys: tuple[KeySpending, ...]


class AccountBalance(StateEvent, frozen=True, kw_only=True):
    """What an account may still spend. `credits_nano_usd` excludes what is held.

    `allotment_rule` says which allotment counts. `allotment_used` counts posted and reserved requests of
    `month` (UTC), `list_cost_used_nano_usd` what was waived and what is reserved for running ones.
    `policy_version` is that of the `AccountChanged` that fee percent and allotment come from, 0
    before the first.
    """

    account_id: AccountId
    credits_nano_usd: int
    held_nano_usd: int
    month: str
    allotment_used: int
    free_requests: int
    fee_percent: Decimal
    policy_version: int
    allotment_rule: AllotmentRule = "requests"
    list_cost_used_nano_usd: int = 0
    free_list_cost_nano_usd: int = 0


class BillingHeartbeat(Heartbeat, frozen=True, kw_only=True):
    """One billing process is at work; `lag_seconds` is the age of the oldest fact not yet posted."""

    lag_seconds: float
