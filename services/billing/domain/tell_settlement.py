"""Tell the world what a generation cost, with the numbers that made it."""

from decimal import Decimal

from services.billing.domain.generation import Finished, SettlementKind, month_of_generation
from services.billing.domain.page import Page
from services.billing.domain.policy import FeePolicy
from shared.events.fees import CreditsCharged, FeeDeducted, FeeWaived


def tell_settlement(
    page: Page,
    finished: Finished,
    policy: FeePolicy,
    *,
    fee_percent: Decimal,
    fee_nano_usd_max: int | None,
) -> None:
    """Emit the event of a posting that stands on the page already.

    `policy` is the account's. `fee_percent` and the most that the fee may be are as promised; they
    mean nothing for shared capacity.
    """
    fact, settlement = finished.fact, finished.settlement
    month = month_of_generation(fact.generation_id)
    credits_nano_usd = page.account(fact.account_id).available_nano_usd
    allotment = page.allotment(fact.account_id, month)
    event: CreditsCharged | FeeDeducted | FeeWaived
    if settlement.kind is SettlementKind.CREDITS_CHARGED:
        event = CreditsCharged(
            generation_id=fact.generation_id,
            account_id=fact.account_id,
            credential_id=fact.credential_id,
            model=fact.model or "",
            list_cost_nano_usd=settlement.list_cost_nano_usd,
            charge_nano_usd=settlement.due_nano_usd,
            uncollected_nano_usd=settlement.uncollected_nano_usd,
            month=month,
            credits_nano_usd=credits_nano_usd,
            usage=fact.usage,
            prices=fact.prices,
        )
    elif settlement.kind is SettlementKind.FEE_WAIVED:
        event = FeeWaived(
            generation_id=fact.generation_id,
            account_id=fact.account_id,
            credential_id=fact.credential_id,
            model=fact.model or "",
            list_cost_nano_usd=settlement.list_cost_nano_usd,
            fee_percent=fee_percent,
            fee_nano_usd=0,
            month=month,
            allotment_used=allotment.used,
            credits_nano_usd=credits_nano_usd,
            allotment_rule=policy.allotment_rule,
            free_requests=policy.free_requests,
            list_cost_used_nano_usd=allotment.list_cost_used_nano_usd,
            free_list_cost_nano_usd=policy.free_list_cost_nano_usd,
            usage=fact.usage,
            prices=fact.prices,
        )
    else:
        event = FeeDeducted(
            generation_id=fact.generation_id,
            account_id=fact.account_id,
            credential_id=fact.credential_id,
            model=fact.model or "",
            list_cost_nano_usd=settlement.list_cost_nano_usd,
            fee_percent=fee_percent,
            fee_nano_usd=settlement.due_nano_usd,
            month=month,
            allotment_used=allotment.used,
            credits_nano_usd=credits_nano_usd,
            allotment_rule=policy.allotment_rule,
            free_requests=policy.free_requests,
            list_cost_used_nano_usd=allotment.list_cost_used_nano_usd,
            free_list_cost_nano_usd=policy.free_list_cost_nano_usd,
            fee_nano_usd_max=fee_nano_usd_max,
            uncollected_nano_usd=settlement.uncollected_nano_usd,
            usage=fact.usage,
            prices=fact.prices,
        )
    page.emit(f"{fact.generation_id}/{settlement.kind}", fact.account_id, event)
