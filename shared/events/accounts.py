"""Accounts and API keys as ingress tells the others about them."""

from decimal import Decimal

from shared.events.envelope import StateEvent
from shared.ids import AccountId, ApiKeyHash, MemberId


class AccountChanged(StateEvent, frozen=True, kw_only=True):
    """An account's routing and fee policy. None means the setting of the installation."""

    account_id: AccountId
    name: str
    byok_only: bool = False
    fee_percent: Decimal | None = None
    free_requests: int | None = None
    member_ids: tuple[MemberId, ...] = ()


class ApiKeyChanged(StateEvent, frozen=True, kw_only=True):
    """An API key was made, changed or disabled. Caches forget what they knew of it."""

    api_key_hash: ApiKeyHash
    account_id: AccountId
    management: bool = False
    disabled: bool = False
    byok_only: bool = False
