"""What ingress tells: an account's own policy, and the limits of API keys."""

import msgspec

from services.billing.domain.key_limit import KeyLimit
from services.billing.domain.page import Page
from services.billing.domain.policy import OwnPolicy
from shared.events.accounts import AccountChanged, ApiKeyChanged


def change_policy(page: Page, change: AccountChanged) -> None:
    """Take over a policy, unless one that is newer is known; an account's first makes it known."""
    account = page.account(change.account_id)
    if change.version < account.policy_version:
        page.entries.duplicates += 1
        return
    page.change_account(
        msgspec.structs.replace(
            account,
            own_policy=OwnPolicy(
                fee_percent=change.fee_percent,
                allotment_rule=change.allotment_rule,
                free_requests=change.free_requests,
                free_list_cost_nano_usd=change.free_list_cost_nano_usd,
            ),
            policy_version=change.version,
        )
    )
    page.entries.shared_limits[change.account_id] = change.shared_limits


def change_key_limit(page: Page, change: ApiKeyChanged) -> None:
    """Take over an API key's limit; of two versions the later counts, here as in the books.

    A key is deleted for good, whichever version says so.
    """
    if change.deleted:
        page.entries.deleted_keys[change.api_key_hash] = change.account_id
    known = page.entries.key_limits.get(change.api_key_hash)
    if known is not None and change.version < known.version:
        page.entries.duplicates += 1
        return
    page.entries.key_limits[change.api_key_hash] = KeyLimit(
        api_key_hash=change.api_key_hash,
        limit_nano_usd=change.limit_nano_usd,
        limit_reset=change.limit_reset,
        include_byok=change.include_byok_in_limit,
        version=change.version,
    )
