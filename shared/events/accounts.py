"""Accounts and API keys as ingress tells the others about them."""

from decimal import Decimal

from shared.events.billing import AllotmentRule
from shared.events.envelope import StateEvent
from shared.ids import AccountId, ApiKeyHash, MemberId


class AccountChanged(StateEvent, frozen=True, kw_only=True):
    """An account's routing and fee policy. None means the setting of the installation.

    `allotment_rule` says which of `free_requests` and `free_list_cost_nano_usd` counts.
    """

    account_id: AccountId
    name: str
    byok_only: bool = False
    fee_percent: Decimal | None = None
    free_requests: int | None = None
    allotment_rule: AllotmentRule | None = None
    free_list_cost_nano_usd: int | None = None
    member_ids: tuple[MemberId, ...] = ()


class ApiKeyChanged(StateEvent, frozen=True, kw_only=True):
    """An API key was made, changed or disabled. Caches forget what they knew of it."""

    api_key_hash: ApiKeyHash
    account_id: AccountId
    management: bool = False
    disabled: bool = False
    byok_only: bool = False
