from decimal import Decimal

import pytest

from services.billing.domain.abandon import abandon, release
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.ledger import LedgerAccount
from services.billing.domain.policy import FeePolicy
from services.billing.domain.settle import settle_finished
from shared.events.fees import ChargeReversed
from tests.unit.billing.made import (
    ACCOUNT,
    FEE,
    LIST_COST,
    MONTH,
    OTHER_ACCOUNT,
    POLICY,
    USD,
    authorize,
    balance,
    events,
    finished,
    generation,
    page_with,
    promised,
)

NO_ALLOTMENT = FeePolicy(fee_percent=Decimal(5), free_requests=0)


@pytest.mark.parametrize("is_byok", [True, False])
def test_a_posted_charge_is_given_back(is_byok: bool) -> None:  # noqa: FBT001 - of the table
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=is_byok), NO_ALLOTMENT)
    settle_finished(page, finished(is_byok=is_byok, spend=promised()), NO_ALLOTMENT)
    abandon(page, generation(), ACCOUNT, "timed out")
    told = page.entries.fee_events[-1].event
    assert isinstance(told, ChargeReversed)
    assert told.amount_nano_usd == (FEE if is_byok else LIST_COST)
    assert told.credential_id == (finished().credential_id if is_byok else None)
    assert told.credits_nano_usd == page.account(ACCOUNT).available_nano_usd == USD
    assert page.allotment(ACCOUNT, MONTH).used == 0
    for ledger_account in (
        LedgerAccount.CLEARING,
        LedgerAccount.REVENUE_FEES,
        LedgerAccount.REVENUE_INFERENCE,
    ):
        assert balance(page, ledger_account) == 0
    assert all(
        (spent.credits_nano_usd, spent.byok_list_cost_nano_usd, spent.requests) == (0, 0, 0)
        for spent in page.entries.spent.values()
    )


def test_a_waived_slot_is_given_back() -> None:
    page = page_with(0)
    settle_finished(page, finished(), POLICY)
    abandon(page, generation(), ACCOUNT, "timed out")
    told = page.entries.fee_events[-1].event
    assert isinstance(told, ChargeReversed)
    assert (told.amount_nano_usd, told.waived) == (0, True)
    assert page.allotment(ACCOUNT, MONTH).used == 0


def test_what_was_uncollected_is_taken_back_too() -> None:
    page = page_with(1_000)
    settle_finished(page, finished(is_byok=False), POLICY)
    abandon(page, generation(), ACCOUNT, "timed out")
    assert page.account(ACCOUNT).available_nano_usd == 1_000
    assert balance(page, LedgerAccount.UNCOLLECTED) == 0


def test_an_abandonment_that_comes_first_charges_nothing_later() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=False), POLICY)
    abandon(page, generation(), ACCOUNT, "timed out")
    assert page.account(ACCOUNT).available_nano_usd == USD
    settle_finished(page, finished(is_byok=False, spend=promised()), POLICY)
    assert page.account(ACCOUNT).available_nano_usd == USD
    assert events(page) == []


def test_abandoning_twice_gives_back_once() -> None:
    page = page_with(USD)
    settle_finished(page, finished(is_byok=False), POLICY)
    abandon(page, generation(), ACCOUNT, "timed out")
    abandon(page, generation(), ACCOUNT, "timed out")
    assert page.account(ACCOUNT).available_nano_usd == USD
    assert events(page) == ["CreditsCharged", "ChargeReversed"]


def test_another_account_cannot_have_a_charge_reversed() -> None:
    page = page_with(USD)
    settle_finished(page, finished(is_byok=False), POLICY)
    abandon(page, generation(), OTHER_ACCOUNT, "mine")
    assert page.account(ACCOUNT).available_nano_usd == USD - LIST_COST


def test_a_release_frees_the_hold_and_leaves_a_posting_alone() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=False), POLICY)
    release(page, generation(), ACCOUNT, "no answer")
    assert page.account(ACCOUNT).held_nano_usd == 0
    settle_finished(page, finished(2, is_byok=False), POLICY)
    release(page, generation(2), ACCOUNT, "too late")
    assert events(page) == ["CreditsCharged"]


def test_an_abandonment_after_a_release_still_counts_as_one() -> None:
    page = page_with(USD)
    release(page, generation(), ACCOUNT, "no answer")
    settle_finished(page, finished(is_byok=False), POLICY)
    abandon(page, generation(), ACCOUNT, "timed out")
    assert page.account(ACCOUNT).available_nano_usd == USD
    assert [each.kind for each in page.entries.abandonments] == ["released", "abandoned"]
