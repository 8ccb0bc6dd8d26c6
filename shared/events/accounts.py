"""Accounts and API keys as ingress tells the others about them."""

from decimal import Decimal
from typing import Literal

import msgspec

from shared.events.billing import AllotmentRule
from shared.events.envelope import StateEvent
from shared.ids import AccountId, ApiKeyHash, MemberId


class SharedLimit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much shared capacity of one provider may be used a minute. None: the installation's."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class AccountChanged(StateEvent, frozen=True, kw_only=True):
    """An account's routing and fee policy. None means the setting of the installation.

    `allotment_rule` says which of `free_requests` and `free_list_cost_nano_usd` counts.
    `shared_limits` are by provider slug; `default` stands for every provider that is not named.
    """

    account_id: AccountId
    name: str
    byok_only: bool = False
    fee_percent: Decimal | None = None
    free_requests: int | None = None
    allotment_rule: AllotmentRule | None = None
    free_list_cost_nano_usd: int | None = None
    member_ids: tuple[MemberId, ...] = ()
    shared_limits: dict[str, SharedLimit] | None = None


class ApiKeyChanged(StateEvent, frozen=True, kw_only=True):
    """An API key was made, changed, disabled or deleted. Caches forget what they knew of it.

    A deleted key is `disabled` for good, and says so by `deleted`. `limit_nano_usd` is what it may spend in each UTC day, week
    from Monday or month, or ever when `limit_reset` is None: credits, and with
    `include_byok_in_limit` the list cost of BYOK use too. `expires_at` is RFC 3339 in UTC.
    """

    api_key_hash: ApiKeyHash
    account_id: AccountId
    management: bool = False
    disabled: bool = False
    byok_only: bool = False
    limit_nano_usd: int | None = None
    limit_reset: Literal["daily", "weekly", "monthly"] | None = None
    include_byok_in_limit: bool = False
    expires_at: str | None = None
    deleted: bool = False
