"""A generation finished: what is booked for it, honouring what its attempt was promised."""

from decimal import Decimal

import msgspec

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
from services.billing.domain.tell_settlement import tell_settlement
from shared.events.generations import GenerationFinished
from shared.events.usage import list_cost
from shared.money import NanoUsd, PicoUsd, fee_of, rounded


class _Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What a BYOK attempt was told: `fee_nano_usd_max` is None where nothing was held for it."""

    waived: bool
    fee_percent: Decimal
    fee_nano_usd_max: int | None = None


class _Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished generation costs: `due_nano_usd`, by which promise; shared capacity has none."""

    kind: SettlementKind
    list_cost_nano_usd: int
    due_nano_usd: int
    promise: _Promise | None = None


class _Collected(msgspec.Struct, frozen=True, kw_only=True):
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
            page.close(hold, HoldEnding.RELEASED, used_tokens=_tokens_used(fact, hold))
        _record(page, Finished(fact=fact, settlement=_nothing(fact)))
        return
    policy = page.account(fact.account_id).policy(installation)
    price = _price(page, fact, cost, policy)
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
    finished = Finished(fact=fact, settlement=settlement)
    _record(page, finished)
    if price.kind.counts_in_allotment:
        page.change_allotment(
            fact.account_id,
            month_of_generation(fact.generation_id),
            used=1,
            list_cost_used_nano_usd=settlement.waived_list_cost_nano_usd,
        )
    page.spend(
        (fact.account_id, fact.api_key_hash, day_of_generation(fact.generation_id)),
        credits_nano_usd=settlement.collected_nano_usd,
        byok_list_cost_nano_usd=settlement.list_cost_nano_usd if fact.is_byok else 0,
        requests=1,
    )
    promise = price.promise
    tell_settlement(
        page,
        finished,
        policy,
        fee_percent=Decimal(0) if promise is None else promise.fee_percent,
        fee_nano_usd_max=None if promise is None else promise.fee_nano_usd_max,
    )


def delivered_cost(fact: GenerationFinished) -> PicoUsd | None:
    """The exact list cost, or None when nothing was delivered and nothing may be charged.

    ValueError when the fact contradicts itself.
    """
    usage = fact.usage
    if fact.outcome == "failed" or usage is None:
        return None
    # a completion of zero tokens is none; vectors are no tokens
    if fact.operation == "chat" and usage.completion_tokens == 0:
        return None
    if fact.prices is None:
        raise ValueError("usage without prices")
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    if min(usage.prompt_tokens, usage.completion_tokens, cached, written) < 0:
        raise ValueError("a count below zero")
    cost = list_cost(usage, fact.prices)
    if cost < 0:
        raise ValueError("a list cost below zero")
    return cost


def _price(page: Page, fact: GenerationFinished, cost: PicoUsd, policy: FeePolicy) -> _Price:
    list_cost_nano_usd = rounded(cost)
    if not fact.is_byok:
        return _Price(
            kind=SettlementKind.CREDITS_CHARGED,
            list_cost_nano_usd=list_cost_nano_usd,
            due_nano_usd=list_cost_nano_usd,
        )
    promise = _promise(page, fact, policy)
    fee = NanoUsd(0) if promise.waived else fee_of(cost, promise.fee_percent)
    most = promise.fee_nano_usd_max
    return _Price(
        kind=SettlementKind.FEE_WAIVED if promise.waived else SettlementKind.FEE_DEDUCTED,
        list_cost_nano_usd=list_cost_nano_usd,
        due_nano_usd=fee if most is None else min(fee, most),
        promise=promise,
    )


def _promise(page: Page, fact: GenerationFinished, policy: FeePolicy) -> _Promise:
    """What the winning BYOK attempt was promised.

    From its hold, ended or not; else from the fact; else, promised nothing, as things stand now.
    """
    spend = fact.spend
    named = page.holds.get(spend.hold_id) if spend is not None and spend.hold_id else None
    if named is not None and named.is_byok and _is_of(named, fact):
        percent = policy.fee_percent if named.fee_percent is None else named.fee_percent
        most = None if named.waived else named.amount_nano_usd
        return _Promise(waived=named.waived, fee_percent=percent, fee_nano_usd_max=most)
    if spend is not None and spend.waived:
        return _Promise(waived=True, fee_percent=policy.fee_percent)
    if spend is not None and spend.fee_percent is not None:
        return _Promise(waived=False, fee_percent=spend.fee_percent)
    allotment = page.allotment(fact.account_id, month_of_generation(fact.generation_id))
    return _Promise(waived=allotment.has_left(policy), fee_percent=policy.fee_percent)


def _is_of(hold: Hold, fact: GenerationFinished) -> bool:
    return (hold.generation_id, hold.account_id) == (fact.generation_id, fact.account_id)


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
        page.close(
            hold,
            HoldEnding.POSTED,
            paid_nano_usd=from_hold,
            used_tokens=_tokens_used(fact, hold),
        )
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


def _tokens_used(fact: GenerationFinished, hold: Hold) -> int:
    """The tokens of the attempt that a hold was for: none, when another one answered."""
    named = None if fact.spend is None else fact.spend.hold_id
    if fact.usage is None or named != hold.hold_id:
        return 0
    return fact.usage.prompt_tokens + fact.usage.completion_tokens


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


def _record(page: Page, finished: Finished) -> None:
    page.settlements[finished.fact.generation_id] = finished.settlement
    page.entries.finished.append(finished)
