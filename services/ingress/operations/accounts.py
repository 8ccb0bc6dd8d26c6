"""`account` and `account-policy`."""

from collections.abc import Mapping
from typing import Any

from services.ingress.domain import api_key
from services.ingress.operations.connections import APPLIED_SECONDS_MAX, Connections
from services.ingress.operations.outcomes import BadInput, Outcome, account_id_of
from services.ingress.outbound.api_key_secrets import new_api_key
from services.ingress.outbound.postgres_accounts import NewApiKey
from shared.ids import AccountId, MemberId, hash_api_key
from shared.money import usd_string
from shared.secret import Secret

_NOT_APPLIED = f"done, but billing has not confirmed it within {APPLIED_SECONDS_MAX:g} s"


async def create(connections: Connections, *, name: str) -> Outcome:
    """Make an account with an owner, an inference key and a management key, shown this once."""
    account_id = AccountId(connections.new_id())
    inference, management = new_api_key(), new_api_key()
    version = await connections.accounts.create(
        account_id=account_id,
        name=name,
        owner_id=MemberId(connections.new_id()),
        keys=[
            _row(inference, name="default", is_management=False),
            _row(management, name="management", is_management=True),
        ],
    )
    is_applied = await connections.is_applied(account_id, version)
    return Outcome(
        printed={
            "account_id": account_id,
            "management_key": management.reveal(),
            "api_key": inference.reveal(),
        },
        warning=None if is_applied else _NOT_APPLIED,
    )


async def change_policy(
    connections: Connections, account: str, changes: Mapping[str, Any]
) -> Outcome:
    """Change what is given; None goes back to the installation's setting."""
    if not changes:
        raise BadInput(
            "give at least one of --allotment, --free-requests, --free-list-cost, --fee-percent, "
            "--byok-only, --shared-limits"
        )
    account_id = account_id_of(account)
    policy = await connections.accounts.change_policy(account_id, changes)
    if policy is None:
        raise BadInput(f"there is no account {account_id}")
    is_applied = await connections.is_applied(account_id, policy.version)
    fee_percent, free_list_cost = policy.fee_percent, policy.free_list_cost_nano_usd
    return Outcome(
        printed={
            "account_id": account_id,
            "byok_only": policy.byok_only,
            "fee_percent": None if fee_percent is None else f"{fee_percent.normalize():f}",
            "allotment": policy.allotment_rule,
            "free_requests": policy.free_requests,
            "free_list_cost": None if free_list_cost is None else usd_string(free_list_cost),
            "shared_limits": policy.shared_limits,
        },
        warning=None if is_applied else _NOT_APPLIED,
    )


def _row(key: Secret, *, name: str, is_management: bool) -> NewApiKey:
    return NewApiKey(
        api_key_hash=hash_api_key(key.reveal()),
        label=api_key.label_of(key.reveal()),
        name=name,
        is_management=is_management,
    )
