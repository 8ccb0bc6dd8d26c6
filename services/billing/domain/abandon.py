"""Nothing of a generation may be charged: what is held is released, what was posted is reversed."""

from services.billing.domain.generation import (
    Abandonment,
    AbandonmentKind,
    Settlement,
    SettlementKind,
    day_of_generation,
    month_of_generation,
)
from services.billing.domain.hold import HoldEnding
from services.billing.domain.ledger import LedgerAccount, TransferKind
from services.billing.domain.page import Page
from services.billing.domain.settle import revenue_of
from shared.events.fees import ChargeReversed
from shared.ids import AccountId, GenerationId


def abandon(page: Page, generation_id: GenerationId, account_id: AccountId, reason: str) -> None:
    """Abandoned beats finished: reverse what was posted, and let nothing be posted later."""
    known = page.abandonments.get(generation_id)
    settlement = page.settlements.get(generation_id)
    repeated = known is not None and known.kind is AbandonmentKind.ABANDONED
    foreign = settlement is not None and settlement.account_id != account_id
    if repeated or foreign:
        page.entries.duplicates += 1
        return
    _end(page, generation_id, account_id, AbandonmentKind.ABANDONED, reason)
    if settlement is not None and settlement.kind is not SettlementKind.NOTHING:
        _reverse(page, settlement)


def release(page: Page, generation_id: GenerationId, account_id: AccountId, reason: str) -> None:
    """Nothing more will be charged; what was posted stays. Sticks even when it comes first."""
    if generation_id in page.settlements or generation_id in page.abandonments:
        return
    _end(page, generation_id, account_id, AbandonmentKind.RELEASED, reason)


def _end(
    page: Page,
    generation_id: GenerationId,
    account_id: AccountId,
    kind: AbandonmentKind,
    reason: str,
) -> None:
    hold = page.open_hold(generation_id, account_id)
    if hold is not None:
        page.close(hold, HoldEnding.RELEASED)
    abandonment = Abandonment(
        generation_id=generation_id, account_id=account_id, kind=kind, reason=reason
    )
    page.abandonments[generation_id] = abandonment
    page.entries.abandonments.append(abandonment)


def _reverse(page: Page, settlement: Settlement) -> None:
    generation_id, account_id = settlement.generation_id, settlement.account_id
    month = month_of_generation(generation_id)

    def book(kind: TransferKind, amount: int, debit: LedgerAccount, credit: LedgerAccount) -> None:
        page.book(
            kind,
            account_id,
            amount,
            debit=debit,
            credit=credit,
            about=generation_id,
            month=month,
            generation_id=generation_id,
        )

    collected, uncollected = settlement.collected_nano_usd, settlement.uncollected_nano_usd
    book(
        TransferKind.REVENUE_REVERSED,
        collected + uncollected,
        revenue_of(is_byok=settlement.is_byok),
        LedgerAccount.CLEARING,
    )
    book(
        TransferKind.CREDITS_GIVEN_BACK,
        collected,
        LedgerAccount.CLEARING,
        LedgerAccount.CUSTOMER_CREDITS,
    )
    book(
        TransferKind.NOT_COLLECTED_REVERSED,
        uncollected,
        LedgerAccount.CLEARING,
        LedgerAccount.UNCOLLECTED,
    )
    if settlement.kind.counts_in_allotment:
        page.change_allotment(
            account_id,
            month,
            used=-1,
            list_cost_used_nano_usd=-settlement.waived_list_cost_nano_usd,
        )
    page.spend(
        (account_id, settlement.api_key_hash, day_of_generation(generation_id)),
        credits_nano_usd=-collected,
        byok_list_cost_nano_usd=-settlement.list_cost_nano_usd if settlement.is_byok else 0,
        requests=-1,
    )
    page.emit(
        f"{generation_id}/charge_reversed",
        account_id,
        ChargeReversed(
            generation_id=generation_id,
            account_id=account_id,
            credential_id=settlement.credential_id,
            amount_nano_usd=collected,
            uncollected_nano_usd=uncollected,
            waived=settlement.kind is SettlementKind.FEE_WAIVED,
            month=month,
            credits_nano_usd=page.account(account_id).available_nano_usd,
        ),
    )
