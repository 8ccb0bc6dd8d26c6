"""A generation finished: what is booked for it, honouring what its attempt was promised."""

from dataclasses import dataclass
from decimal import Decimal

from services.billing.domain.generation import (
    Finished,
    Settlement,
    SettlementKind,
    day_of_generation,
    month_of_generation,
)
from services.billing.domain.hold import Hold, HoldEnding
from services.billing.domain.ledger import LedgerAccount, TransferKind
from services.billing.domain.page import Page
from services.billing.domain.policy import FeePolicy
from shared.events.billing import CreditsCharged, FeeDeducted, FeeWaived
from shared.events.generations import GenerationFinished
from shared.events.usage import list_cost
from shared.money import NanoUsd, PicoUsd, fee_of, rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    """What a finished generation costs: `due_nano_usd`, by which rule."""

    kind: SettlementKind
    list_cost_nano_usd: int
    due_nano_usd: int
    fee_percent: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collected:
    """What of a sum credits paid, and what nobody did."""

    collected_nano_usd: int
    uncollected_nano_usd: int


def settle_finished(page: Page, fact: GenerationFinished, installation: FeePolicy) -> None:
    """Book a finished generation once; any further fact of it changes nothing."""
    if fact.generation_id in page.settlements:
        page.entries.duplicates += 1
        return
    cost = delivered_cost(fact)
    hold = page.open_hold(fact.generation_id, fact.account_id)
    if cost is None or fact.generation_id in page.abandonments:
        if hold is not None:
            page.close(hold, HoldEnding.RELEASED)
        _record(page, fact, _nothing(fact))
        return
    price = _price(page, fact, cost, installation)
    collected = _collect(page, fact, price, hold)
    settlement = Settlement(
        generation_id=fact.generation_id,
        account_id=fact.account_id,
        api_key_hash=fact.api_key_hash,
        kind=price.kind,
        is_byok=fact.is_byok,
        credential_id=fact.credential_id if fact.is_byok else None,
        list_cost_nano_usd=price.list_cost_nano_usd,
        collected_nano_usd=collected.collected_nano_usd,
        uncollected_nano_usd=collected.uncollected_nano_usd,
    )
    _record(page, fact, settlement)
    if price.kind.counts_in_allotment:
        page.change_allotment(fact.account_id, month_of_generation(fact.generation_id), used=1)
    page.spend(
        (fact.account_id, fact.api_key_hash, day_of_generation(fact.generation_id)),
        credits_nano_usd=settlement.collected_nano_usd,
        byok_list_cost_nano_usd=settlement.list_cost_nano_usd if fact.is_byok else 0,
        requests=1,
    )
    _tell(page, fact, settlement, price)


def delivered_cost(fact: GenerationFinished) -> PicoUsd | None:
    """The exact list cost, or None when nothing was delivered and nothing may be charged.

    ValueError when the fact contradicts itself.
    """
    if fact.outcome == "failed" or fact.usage is None:
        return None
    # a completion of zero tokens is none; vectors are no tokens
    if fact.operation == "chat" and fact.usage.completion_tokens == 0:
        return None
    if fact.prices is None:
        raise ValueError("usage without prices")
    cost = list_cost(fact.usage, fact.prices)
    if cost < 0:
        raise ValueError("a list cost below zero")
    return cost


def _price(page: Page, fact: GenerationFinished, cost: PicoUsd, installation: FeePolicy) -> _Price:
    list_cost_nano_usd = rounded(cost)
    if not fact.is_byok:
        return _Price(
            kind=SettlementKind.CREDITS_CHARGED,
            list_cost_nano_usd=list_cost_nano_usd,
            due_nano_usd=list_cost_nano_usd,
            fee_percent=Decimal(0),
        )
    waived, percent, fee_max = _promise(page, fact, installation)
    fee = NanoUsd(0) if waived else fee_of(cost, percent)
    return _Price(
        kind=SettlementKind.FEE_WAIVED if waived else SettlementKind.FEE_DEDUCTED,
        list_cost_nano_usd=list_cost_nano_usd,
        due_nano_usd=fee if fee_max is None else min(fee, fee_max),
        fee_percent=percent,
    )


def _promise(
    page: Page, fact: GenerationFinished, installation: FeePolicy
) -> tuple[bool, Decimal, int | None]:
    """What the winning BYOK attempt was promised: waived or not, the percentage, the most it costs.

    From its hold, ended or not; else from the fact; else, promised nothing, as things stand now.
    """
    policy = page.account(fact.account_id).policy(installation)
    spend = fact.spend
    named = page.holds.get(spend.hold_id) if spend is not None and spend.hold_id else None
    if named is not None and named.is_byok and named.generation_id == fact.generation_id:
        percent = policy.fee_percent if named.fee_percent is None else named.fee_percent
        return named.waived, percent, named.amount_nano_usd
    if spend is not None and spend.waived:
        return True, policy.fee_percent, None
    month = month_of_generation(fact.generation_id)
    allotment = page.allotment(fact.account_id, month)
    percent = policy.fee_percent
    if spend is not None and spend.fee_percent is not None:
        return False, spend.fee_percent, None
    return allotment.used + allotment.reserved < policy.free_requests, percent, None


def _collect(page: Page, fact: GenerationFinished, price: _Price, hold: Hold | None) -> _Collected:
    """Gather what is due from the hold, then from credits, then as uncollected; end the hold."""
    month = month_of_generation(fact.generation_id)
    due = price.due_nano_usd

    def book(kind: TransferKind, amount: int, debit: LedgerAccount, credit: LedgerAccount) -> None:
        page.book(
            kind,
            fact.account_id,
            amount,
            debit=debit,
            credit=credit,
            about=fact.generation_id,
            month=month,
            generation_id=fact.generation_id,
            hold_id=None if hold is None else hold.hold_id,
        )

    from_hold = 0
    if hold is not None:
        from_hold = min(due, hold.amount_nano_usd)
        book(
            TransferKind.PAID_FROM_HOLD,
            from_hold,
            LedgerAccount.CUSTOMER_HOLDS,
            LedgerAccount.CLEARING,
        )
        page.close(hold, HoldEnding.POSTED, paid_nano_usd=from_hold)
    from_credits = min(due - from_hold, page.account(fact.account_id).available_nano_usd)
    book(
        TransferKind.PAID_FROM_CREDITS,
        from_credits,
        LedgerAccount.CUSTOMER_CREDITS,
        LedgerAccount.CLEARING,
    )
    uncollected = due - from_hold - from_credits
    book(TransferKind.NOT_COLLECTED, uncollected, LedgerAccount.UNCOLLECTED, LedgerAccount.CLEARING)
    book(TransferKind.REVENUE, due, LedgerAccount.CLEARING, revenue_of(is_byok=fact.is_byok))
    return _Collected(collected_nano_usd=from_hold + from_credits, uncollected_nano_usd=uncollected)


def revenue_of(*, is_byok: bool) -> LedgerAccount:
    """The revenue that a generation's posting goes to."""
    return LedgerAccount.REVENUE_FEES if is_byok else LedgerAccount.REVENUE_INFERENCE


def _nothing(fact: GenerationFinished) -> Settlement:
    return Settlement(
        generation_id=fact.generation_id,
        account_id=fact.account_id,
        api_key_hash=fact.api_key_hash,
        kind=SettlementKind.NOTHING,
        is_byok=fact.is_byok,
    )


def _record(page: Page, fact: GenerationFinished, settlement: Settlement) -> None:
    page.settlements[fact.generation_id] = settlement
    page.entries.finished.append(Finished(fact=fact, settlement=settlement))


def _tell(page: Page, fact: GenerationFinished, settlement: Settlement, price: _Price) -> None:
    month = month_of_generation(fact.generation_id)
    credits_nano_usd = page.account(fact.account_id).available_nano_usd
    event_id = f"{fact.generation_id}/{price.kind}"
    if price.kind is SettlementKind.CREDITS_CHARGED:
        page.emit(
            event_id,
            fact.account_id,
            CreditsCharged(
                generation_id=fact.generation_id,
                account_id=fact.account_id,
                credential_id=fact.credential_id,
                model=fact.model or "",
                list_cost_nano_usd=settlement.list_cost_nano_usd,
                charge_nano_usd=price.due_nano_usd,
                uncollected_nano_usd=settlement.uncollected_nano_usd,
                month=month,
                credits_nano_usd=credits_nano_usd,
            ),
        )
        return
    event = FeeWaived if price.kind is SettlementKind.FEE_WAIVED else FeeDeducted
    page.emit(
        event_id,
        fact.account_id,
        event(
            generation_id=fact.generation_id,
            account_id=fact.account_id,
            credential_id=fact.credential_id,
            model=fact.model or "",
            list_cost_nano_usd=settlement.list_cost_nano_usd,
            fee_percent=price.fee_percent,
            fee_nano_usd=price.due_nano_usd,
            month=month,
            allotment_used=page.allotment(fact.account_id, month).used,
            credits_nano_usd=credits_nano_usd,
        ),
    )
