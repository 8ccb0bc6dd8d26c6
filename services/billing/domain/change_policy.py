"""An account's own fee policy, as ingress tells of it."""

from dataclasses import replace

from services.billing.domain.page import Page
from services.billing.domain.policy import OwnPolicy
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
            own_policy=OwnPolicy(
                fee_percent=change.fee_percent,
                allotment_rule=change.allotment_rule,
                free_requests=change.free_requests,
                free_list_cost_nano_usd=change.free_list_cost_nano_usd,
            ),
            policy_version=change.version,
        )
    )
