from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from services.billing.domain.abandon import release
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.credits import add_credits
from services.billing.domain.hold import HoldEnding
from services.billing.domain.policy import FeePolicy
from services.billing.domain.settle import settle_finished
from shared.events.billing import (
    AddCredits,
    AuthorizeSpend,
    CreditsKept,
    SpendAuthorized,
    SpendRefused,
)
from shared.events.envelope import Refused
from shared.ids import RunId
from tests.unit.billing.made import (
    ACCOUNT,
    LATER,
    LIST_COST,
    MONTH,
    OTHER_ACCOUNT,
    POLICY,
    USD,
    authorize,
    finished,
    generation,
    page_with,
)


def test_waived_slots_run_out_exactly_at_the_allotment() -> None:
    page = page_with(USD)
    answers = [authorize_spend(page, authorize(number), POLICY) for number in (1, 2, 3)]
    assert [getattr(answer, "waived", None) for answer in answers] == [True, True, False]


def test_what_does_not_fit_into_credits_is_refused_with_the_numbers() -> None:
    page = page_with(LIST_COST)
    answer = authorize_spend(page, authorize(is_byok=False), POLICY)
    assert isinstance(answer, SpendRefused)
    assert answer.code == "insufficient_credits"
    assert (answer.needed_nano_usd, answer.available_nano_usd) == (4 * LIST_COST, LIST_COST)
    assert page.account(ACCOUNT).available_nano_usd == LIST_COST


def test_a_refusal_sticks_though_credits_came_meanwhile() -> None:
    page = page_with(0)
    refused = authorize_spend(page, authorize(is_byok=False), POLICY)
    add_credits(page, AddCredits(account_id=ACCOUNT, amount_nano_usd=USD, key="late"), MONTH)
    assert authorize_spend(page, authorize(is_byok=False), POLICY) == refused
    again = authorize_spend(page, authorize(is_byok=False, hold="hold-2"), POLICY)
    assert isinstance(again, SpendAuthorized)


def test_the_same_hold_again_gets_the_same_answer_and_holds_once() -> None:
    page = page_with(USD)
    first = authorize_spend(page, authorize(is_byok=False), POLICY)
    assert authorize_spend(page, authorize(is_byok=False), POLICY) == first
    assert page.account(ACCOUNT).held_nano_usd == 4 * LIST_COST


def test_a_fee_of_nothing_needs_no_credits() -> None:
    free = FeePolicy(fee_percent=Decimal(0), free_requests=0)
    answer = authorize_spend(page_with(0), authorize(), free)
    assert isinstance(answer, SpendAuthorized)
    assert not answer.waived


def test_a_new_hold_of_a_generation_replaces_the_last_one() -> None:
    page = page_with(4 * LIST_COST)
    authorize_spend(page, authorize(is_byok=False), POLICY)
    answer = authorize_spend(page, authorize(is_byok=False, hold="next"), POLICY)
    assert isinstance(answer, SpendAuthorized)
    assert page.account(ACCOUNT).held_nano_usd == 4 * LIST_COST
    assert [ending for _, ending in page.entries.hold_endings] == [HoldEnding.REPLACED]


def test_a_refused_replacement_leaves_the_last_hold_as_it_is() -> None:
    page = page_with(4 * LIST_COST)
    authorize_spend(page, authorize(is_byok=False), POLICY)
    dearer = authorize(is_byok=False, hold="next", worst_case_nano_usd=USD)
    assert isinstance(authorize_spend(page, dearer, POLICY), SpendRefused)
    assert page.account(ACCOUNT).held_nano_usd == 4 * LIST_COST
    assert page.entries.hold_endings == []


def test_a_waived_slot_is_not_taken_twice_by_attempts_of_one_generation() -> None:
    page = page_with(0)
    one = FeePolicy(fee_percent=Decimal(5), free_requests=1)
    for hold in ("first", "second", "third"):
        answer = authorize_spend(page, authorize(hold=hold), one)
        assert isinstance(answer, SpendAuthorized)
        assert answer.waived
    assert page.allotment(ACCOUNT, MONTH).reserved == 1


def test_nothing_begins_after_the_end() -> None:
    page = page_with(USD)
    settle_finished(page, finished(1), POLICY)
    release(page, generation(2), ACCOUNT, "gone")
    for number in (1, 2):
        answer = authorize_spend(page, authorize(number, hold=f"late-{number}"), POLICY)
        assert isinstance(answer, SpendRefused)
        assert answer.code == "already_ended"


def test_a_hold_id_of_another_account_is_a_conflict() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(), POLICY)
    answer = authorize_spend(page, authorize(account=OTHER_ACCOUNT), POLICY)
    assert isinstance(answer, Refused)
    assert answer.code == "conflict"
    other_hold = authorize(account=OTHER_ACCOUNT, hold="theirs")
    assert isinstance(authorize_spend(page, other_hold, POLICY), Refused)


def test_a_worst_case_below_zero_is_invalid() -> None:
    answer = authorize_spend(page_with(0), authorize(worst_case_nano_usd=-1), POLICY)
    assert isinstance(answer, Refused)
    assert answer.field == "worst_case_nano_usd"


def test_a_top_up_counts_once_for_its_key() -> None:
    page = page_with(0)
    command = AddCredits(account_id=ACCOUNT, amount_nano_usd=USD, key="order 7")
    assert add_credits(page, command, MONTH) == CreditsKept(
        account_id=ACCOUNT, amount_nano_usd=USD, credits_nano_usd=USD, repeated=False
    )
    assert add_credits(page, command, MONTH) == CreditsKept(
        account_id=ACCOUNT, amount_nano_usd=USD, credits_nano_usd=USD, repeated=True
    )
    other = AddCredits(account_id=ACCOUNT, amount_nano_usd=2 * USD, key="order 7")
    answer = add_credits(page, other, MONTH)
    assert isinstance(answer, Refused)
    assert answer.code == "conflict"
    assert page.account(ACCOUNT).available_nano_usd == USD


def test_a_top_up_of_nothing_is_invalid() -> None:
    for amount in (0, -5, 10**30):
        command = AddCredits(account_id=ACCOUNT, amount_nano_usd=amount, key="k")
        answer = add_credits(page_with(0), command, MONTH)
        assert isinstance(answer, Refused)
        assert answer.field == "amount_nano_usd"


@pytest.mark.parametrize(
    "other",
    [
        authorize(worst_case_nano_usd=4 * LIST_COST + 1),
        authorize(is_byok=True),
        authorize(is_byok=False, generation_id=generation(7)),
        authorize(is_byok=False, hold_until=LATER + timedelta(seconds=1)),
        msgspec.structs.replace(authorize(is_byok=False), provider="azure"),
        msgspec.structs.replace(authorize(is_byok=False), run_id=RunId("another")),
    ],
    ids=["amount", "whose key", "generation", "time", "provider", "run"],
)
@pytest.mark.parametrize("nano_usd", [USD, 0], ids=["authorized", "refused"])
def test_a_hold_id_that_comes_with_another_command_is_a_conflict(
    other: AuthorizeSpend, nano_usd: int
) -> None:
    page = page_with(nano_usd)
    first = authorize_spend(page, authorize(is_byok=False), POLICY)
    before = page.account(ACCOUNT)
    answer = authorize_spend(page, other, POLICY)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.field) == ("conflict", "hold_id")
    assert page.account(ACCOUNT) == before
    assert authorize_spend(page, authorize(is_byok=False), POLICY) == first
