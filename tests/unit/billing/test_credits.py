"""Credits in and out by an operator's hand: each once, to the nano-dollar, never below zero."""

import pytest

from services.billing.domain.authorize import authorize_spend
from services.billing.domain.book_movement import AMOUNT_NANO_USD_MAX
from services.billing.domain.credits import add_credits, correct_credits, refund_credits
from services.billing.domain.ledger import LedgerAccount
from services.billing.domain.page import Page
from services.billing.domain.settle import settle_finished
from shared.events.billing import AddCredits, CorrectCredits, CreditsKept, RefundCredits
from shared.events.envelope import CallReply, Refused
from shared.events.fees import CreditsCorrected, CreditsRefunded
from tests.unit.billing.made import (
    ACCOUNT,
    LIST_COST,
    MONTH,
    POLICY,
    USD,
    authorize,
    balance,
    finished,
    page_with,
)


def refund(page: Page, nano_usd: int, key: str = "r", reason: str | None = None) -> CallReply:
    command = RefundCredits(account_id=ACCOUNT, amount_nano_usd=nano_usd, key=key, reason=reason)
    return refund_credits(page, command, MONTH)


def correct(page: Page, nano_usd: int, key: str = "c", reason: str = "wrong price") -> CallReply:
    command = CorrectCredits(
        account_id=ACCOUNT, amount_nano_usd=nano_usd, key=key, reason=reason, reference="gen-1"
    )
    return correct_credits(page, command, MONTH)


def promote(page: Page, nano_usd: int) -> CallReply:
    command = AddCredits(account_id=ACCOUNT, amount_nano_usd=nano_usd, key="p", kind="promotion")
    return add_credits(page, command, MONTH)


def code(answer: CallReply) -> str:
    assert isinstance(answer, Refused), answer
    return f"{answer.code} {answer.field}"


def test_a_promotion_is_credits_that_nobody_paid_for() -> None:
    page = page_with(USD)
    promote(page, 2 * USD)
    assert page.account(ACCOUNT).available_nano_usd == 3 * USD
    assert balance(page, LedgerAccount.PROMOTIONS) == -2 * USD
    assert balance(page, LedgerAccount.CASH_IN) == -USD


def test_a_refund_goes_back_to_cash_and_is_told() -> None:
    page = page_with(USD)
    kept = refund(page, USD // 4)
    assert kept == CreditsKept(
        account_id=ACCOUNT,
        amount_nano_usd=-USD // 4,
        credits_nano_usd=USD * 3 // 4,
        repeated=False,
    )
    assert balance(page, LedgerAccount.CASH_IN) == -USD * 3 // 4
    event = page.entries.fee_events[-1].event
    assert isinstance(event, CreditsRefunded)
    assert (event.amount_nano_usd, event.uncollected_nano_usd) == (USD // 4, 0)


def test_what_was_spent_cannot_be_taken_again_and_stays_uncollected() -> None:
    page = page_with(USD)
    settle_finished(page, finished(is_byok=False), POLICY)
    kept = refund(page, USD)
    assert isinstance(kept, CreditsKept)
    assert (kept.amount_nano_usd, kept.uncollected_nano_usd) == (LIST_COST - USD, LIST_COST)
    assert page.account(ACCOUNT).available_nano_usd == 0
    assert balance(page, LedgerAccount.UNCOLLECTED) == -LIST_COST
    assert balance(page, LedgerAccount.CASH_IN) == 0


def test_what_is_held_is_not_taken_by_a_refund() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=False, worst_case_nano_usd=USD // 2), POLICY)
    kept = refund(page, USD)
    assert isinstance(kept, CreditsKept)
    assert kept.uncollected_nano_usd == USD // 2
    assert page.account(ACCOUNT).held_nano_usd == USD // 2


def test_no_more_goes_back_than_was_paid_in() -> None:
    page = page_with(USD)
    promote(page, 5 * USD)
    assert code(refund(page, USD + 1)) == "conflict amount_nano_usd"
    assert isinstance(refund(page, USD), CreditsKept)
    assert code(refund(page, 1, key="again")) == "conflict amount_nano_usd"
    assert page.account(ACCOUNT).available_nano_usd == 5 * USD


def test_a_correction_of_either_sign_stands_against_corrections_and_says_why() -> None:
    page = page_with(USD)
    assert isinstance(correct(page, 5), CreditsKept)
    assert isinstance(correct(page, -7, key="c2"), CreditsKept)
    assert page.account(ACCOUNT).available_nano_usd == USD - 2
    assert balance(page, LedgerAccount.CORRECTIONS) == 2
    event = page.entries.fee_events[-1].event
    assert isinstance(event, CreditsCorrected)
    assert (event.amount_nano_usd, event.reason, event.reference) == (-7, "wrong price", "gen-1")


def test_a_correction_takes_no_more_than_is_available() -> None:
    page = page_with(USD)
    before = list(page.entries.transfers)
    assert code(correct(page, -USD - 1)) == "conflict amount_nano_usd"
    assert page.entries.transfers == before


def test_all_movements_of_an_account_share_one_space_of_keys() -> None:
    page = page_with(USD)
    refund(page, 5, key="same", reason="asked for")
    for answer in (
        refund(page, 6, key="same", reason="asked for"),
        refund(page, 5, key="same", reason="another"),
        refund(page, 5, key="k", reason="asked for"),
        correct(page, -5, key="same"),
        add_credits(page, AddCredits(account_id=ACCOUNT, amount_nano_usd=5, key="same"), MONTH),
    ):
        assert code(answer) == "conflict key"
    again = refund(page, 5, key="same", reason="asked for")
    assert isinstance(again, CreditsKept)
    assert again.repeated


def test_the_answer_is_the_same_whenever_it_is_given() -> None:
    page = page_with(USD)
    first = refund(page, 5)
    refund(page, 7, key="meanwhile")
    again = refund(page, 5)
    assert isinstance(first, CreditsKept)
    assert isinstance(again, CreditsKept)
    assert again.repeated
    assert again.credits_nano_usd == first.credits_nano_usd == USD - 5


@pytest.mark.parametrize("amount", [0, AMOUNT_NANO_USD_MAX + 1, -AMOUNT_NANO_USD_MAX - 1])
def test_an_amount_out_of_bounds_is_invalid(amount: int) -> None:
    page = page_with(USD)
    assert code(refund(page, amount)) == "invalid amount_nano_usd"
    assert code(correct(page, amount)) == "invalid amount_nano_usd"


def test_a_refund_below_zero_is_invalid() -> None:
    assert code(refund(page_with(USD), -1)) == "invalid amount_nano_usd"


@pytest.mark.parametrize("key", ["", "k" * 257, "return/stripe/pi_1/refunded/5"])
def test_a_key_that_cannot_be_used_is_invalid(key: str) -> None:
    assert code(refund(page_with(USD), 5, key=key)) == "invalid key"


@pytest.mark.parametrize("reason", ["", "r" * 501])
def test_a_reason_is_neither_empty_nor_a_novel(reason: str) -> None:
    assert code(correct(page_with(USD), 5, reason=reason)) == "invalid reason"
