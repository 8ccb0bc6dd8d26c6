"""An account's own fee policy, as ingress tells of it."""

from dataclasses import replace

from services.billing.domain.page import Page
from shared.events.accounts import AccountChanged


def change_policy(page: Page, change: AccountChanged) -> None:
    """Take over a policy, unless one that is newer is known; an account's first makes it known."""
    account = page.account(change.account_id)
    if change.version < account.policy_version:
        page.entries.duplicates += 1
        return
    page.change_account(
        replace(
            account,
            fee_percent=change.fee_percent,
            free_requests=change.free_requests,
            policy_version=change.version,
        )
    )
