from decimal import Decimal

import msgspec
import pytest

from services.billing.domain.authorize import authorize_spend
from services.billing.domain.fact import checked_fact
from services.billing.domain.ledger import LedgerAccount
from services.billing.domain.page import Page, expire
from services.billing.domain.policy import FeePolicy
from services.billing.domain.settle import settle_finished
from shared.events.billing import SpendAuthorized
from shared.events.fees import CreditsCharged, FeeDeducted, FeeWaived
from shared.events.generations import GenerationFinished, Spend
from shared.events.usage import Usage
from tests.unit.billing.made import (
    ACCOUNT,
    FEE,
    LIST_COST,
    MONTH,
    POLICY,
    USD,
    authorize,
    balance,
    events,
    finished,
    page_with,
    promised,
)

NO_ALLOTMENT = FeePolicy(fee_percent=Decimal(5), free_requests=0)


def test_a_byok_request_of_an_ample_allotment_is_waived_and_counted() -> None:
    page = page_with(0)
    settle_finished(page, finished(spend=Spend(waived=True)), POLICY)
    (told,) = page.entries.fee_events
    assert isinstance(told.event, FeeWaived)
    assert told.event.list_cost_nano_usd == LIST_COST
    assert (told.event.fee_nano_usd, told.event.allotment_used) == (0, 1)
    assert page.entries.transfers == []


def test_a_waived_slot_stays_waived_though_the_allotment_is_gone_by_then() -> None:
    page = page_with(0)
    authorize_spend(page, authorize(), POLICY)
    settle_finished(page, finished(spend=promised(waived=True)), NO_ALLOTMENT)
    assert events(page) == ["FeeWaived"]
    assert (page.allotment(ACCOUNT, MONTH).used, page.allotment(ACCOUNT, MONTH).reserved) == (1, 0)


def test_a_fee_is_taken_from_its_hold_and_the_rest_returns() -> None:
    page = page_with(USD)
    answer = authorize_spend(page, authorize(), NO_ALLOTMENT)
    assert answer == SpendAuthorized(
        hold_id=authorize().hold_id, waived=False, fee_percent=Decimal(5)
    )
    assert page.account(ACCOUNT).held_nano_usd == 4 * FEE
    settle_finished(page, finished(spend=promised()), POLICY)
    told = page.entries.fee_events[-1].event
    assert isinstance(told, FeeDeducted)
    assert (told.fee_nano_usd, told.credits_nano_usd) == (FEE, USD - FEE)
    assert told.allotment_used == 1
    account = page.account(ACCOUNT)
    assert (account.available_nano_usd, account.held_nano_usd) == (USD - FEE, 0)
    assert balance(page, LedgerAccount.REVENUE_FEES) == FEE
    assert balance(page, LedgerAccount.CLEARING) == 0


def test_the_percentage_of_the_hold_holds_though_the_policy_changed() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(), NO_ALLOTMENT)
    dearer = FeePolicy(fee_percent=Decimal(50), free_requests=0)
    settle_finished(page, finished(spend=promised()), dearer)
    assert balance(page, LedgerAccount.REVENUE_FEES) == FEE


def test_a_fee_never_exceeds_what_was_held_for_it() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(worst_case_nano_usd=LIST_COST // 2), NO_ALLOTMENT)
    settle_finished(page, finished(spend=promised()), POLICY)
    assert balance(page, LedgerAccount.REVENUE_FEES) == FEE // 2


def test_shared_capacity_is_charged_at_list_price() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=False), POLICY)
    assert page.account(ACCOUNT).held_nano_usd == 4 * LIST_COST
    settle_finished(page, finished(is_byok=False, spend=promised()), POLICY)
    assert balance(page, LedgerAccount.REVENUE_INFERENCE) == LIST_COST
    assert page.account(ACCOUNT).available_nano_usd == USD - LIST_COST
    assert page.allotment(ACCOUNT, MONTH).used == 0


def test_a_charge_above_its_hold_takes_what_is_there_and_leaves_the_rest_uncollected() -> None:
    page = page_with(LIST_COST - 1_000)
    authorize_spend(page, authorize(is_byok=False, worst_case_nano_usd=2_000), POLICY)
    settle_finished(page, finished(is_byok=False, spend=promised()), POLICY)
    told = page.entries.fee_events[-1].event
    assert isinstance(told, CreditsCharged)
    assert (told.charge_nano_usd, told.uncollected_nano_usd) == (LIST_COST, 1_000)
    assert page.account(ACCOUNT).available_nano_usd == 0
    assert balance(page, LedgerAccount.UNCOLLECTED) == -1_000
    assert balance(page, LedgerAccount.REVENUE_INFERENCE) == LIST_COST
    assert balance(page, LedgerAccount.CLEARING) == 0


def test_a_charge_whose_hold_expired_is_taken_from_what_is_available() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=False), POLICY)
    expire(page, list(page.open_holds.values()))
    assert page.account(ACCOUNT).available_nano_usd == USD
    settle_finished(page, finished(is_byok=False, spend=promised()), POLICY)
    assert page.account(ACCOUNT).available_nano_usd == USD - LIST_COST


def test_a_byok_generation_that_was_promised_nothing_is_judged_as_things_stand() -> None:
    page = page_with(USD)
    for number in (1, 2, 3):
        settle_finished(page, finished(number), POLICY)
    assert events(page) == ["FeeWaived", "FeeWaived", "FeeDeducted"]


@pytest.mark.parametrize(
    "fact",
    [
        finished(outcome="failed", spend=promised()),
        finished(usage=None, spend=promised()),
        finished(outcome="cancelled", usage=None, spend=promised()),
        finished(usage=Usage(prompt_tokens=9, completion_tokens=0), spend=promised()),
    ],
    ids=["failed", "no usage", "cancelled before the first token", "no tokens"],
)
@pytest.mark.parametrize("is_byok", [True, False])
def test_nothing_delivered_is_nothing_charged(fact: GenerationFinished, is_byok: bool) -> None:  # noqa: FBT001 - a parameter of the table
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=is_byok), NO_ALLOTMENT)
    settle_finished(page, fact, POLICY)
    account = page.account(ACCOUNT)
    assert (account.available_nano_usd, account.held_nano_usd) == (USD, 0)
    assert page.allotment(ACCOUNT, MONTH).used == 0
    assert events(page) == []


def test_a_cancelled_generation_pays_for_its_tokens_so_far() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=False), POLICY)
    settle_finished(page, finished(is_byok=False, outcome="cancelled", spend=promised()), POLICY)
    assert page.account(ACCOUNT).available_nano_usd == USD - LIST_COST


def test_a_second_fact_of_a_generation_changes_nothing() -> None:
    page = page_with(USD)
    settle_finished(page, finished(is_byok=False), POLICY)
    before = page.account(ACCOUNT), len(page.entries.transfers), events(page)
    settle_finished(page, finished(is_byok=True), POLICY)
    assert (page.account(ACCOUNT), len(page.entries.transfers), events(page)) == before
    assert page.entries.duplicates == 1


def test_ids_of_events_are_the_same_however_often_they_are_made() -> None:
    first, second = page_with(USD), page_with(USD)
    settle_finished(first, finished(is_byok=False), POLICY)
    settle_finished(second, finished(is_byok=False), POLICY)
    assert first.entries.fee_events == second.entries.fee_events


def test_usage_without_prices_cannot_be_booked() -> None:
    fact = finished()
    broken = GenerationFinished(
        **{name: getattr(fact, name) for name in fact.__struct_fields__} | {"prices": None}
    )
    with pytest.raises(ValueError, match="prices"):
        checked_fact(broken)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(prompt_tokens=-1, completion_tokens=5),
        Usage(prompt_tokens=1, completion_tokens=-5),
        Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=-1),
        Usage(prompt_tokens=10, completion_tokens=5, cache_write_tokens=-1),
    ],
)
def test_a_count_below_zero_cannot_be_booked(usage: Usage) -> None:
    with pytest.raises(ValueError, match="below zero"):
        checked_fact(finished(usage=usage))


def test_a_promise_to_another_account_is_none_to_this_one() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(), POLICY)
    stranger = finished(account=type(ACCOUNT)("stranger"), spend=promised())
    settle_finished(page, stranger, NO_ALLOTMENT)
    assert events(page) == ["FeeDeducted"]


def test_a_hold_of_another_account_pays_nothing_for_this_one() -> None:
    page: Page = page_with(USD)
    authorize_spend(page, authorize(is_byok=False), POLICY)
    held = page.account(ACCOUNT).held_nano_usd
    stranger = finished(is_byok=False, account=type(ACCOUNT)("stranger"), spend=promised())
    settle_finished(page, stranger, POLICY)
    assert page.account(ACCOUNT).held_nano_usd == held
    assert balance(page, LedgerAccount.UNCOLLECTED) == -LIST_COST


@pytest.mark.parametrize(("is_byok", "due"), [(True, 125_000), (False, 2_500_000)])
def test_embeddings_are_charged_by_their_prompt(is_byok: bool, due: int) -> None:  # noqa: FBT001 - a parameter of the table
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=is_byok), NO_ALLOTMENT)
    usage = Usage(prompt_tokens=1_000, completion_tokens=0)
    fact = finished(usage=usage, is_byok=is_byok, spend=promised())
    settle_finished(page, msgspec.structs.replace(fact, operation="embeddings"), NO_ALLOTMENT)
    account = page.account(ACCOUNT)
    assert (account.available_nano_usd, account.held_nano_usd) == (USD - due, 0)
    assert events(page) == ["FeeDeducted" if is_byok else "CreditsCharged"]
