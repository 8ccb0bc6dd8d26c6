"""The first so many dollars of BYOK list cost in a month are free of the fee (docs/adr/0011)."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.domain.abandon import abandon, release
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.change_policy import change_policy
from services.billing.domain.page import Page, expire
from services.billing.domain.policy import FeePolicy
from services.billing.domain.settle import settle_finished
from shared.events.accounts import AccountChanged
from shared.events.billing import SpendAuthorized
from shared.events.fees import FeeDeducted, FeeWaived
from shared.events.generations import Spend
from shared.events.usage import Usage
from tests.unit.billing.made import (
    ACCOUNT,
    FEE,
    LIST_COST,
    MONTH,
    PRICES,
    USAGE,
    USD,
    authorize,
    events,
    finished,
    generation,
    page_with,
    promised,
)

POLICY = FeePolicy(
    fee_percent=Decimal(5),
    allotment_rule="list_cost",
    free_requests=0,
    free_list_cost_nano_usd=2 * LIST_COST,
)


def _waived(page: Page, number: int, *, worst_case_nano_usd: int = LIST_COST) -> bool:
    answer = authorize_spend(
        page, authorize(number, worst_case_nano_usd=worst_case_nano_usd), POLICY
    )
    assert isinstance(answer, SpendAuthorized)
    return answer.waived


def test_generations_are_waived_until_their_list_cost_is_used_up() -> None:
    page = page_with(USD)
    for number in range(1, 5):
        settle_finished(page, finished(number), POLICY)
    assert events(page) == ["FeeWaived", "FeeWaived", "FeeDeducted", "FeeDeducted"]
    allotment = page.allotment(ACCOUNT, MONTH)
    assert allotment.list_cost_used_nano_usd == 2 * LIST_COST
    assert allotment.used == 4


def test_the_generation_that_straddles_the_end_is_waived_as_a_whole() -> None:
    page = page_with(USD)
    settle_finished(page, finished(1), POLICY)
    assert _waived(page, 2, worst_case_nano_usd=100 * LIST_COST)
    assert not _waived(page, 3)
    twice = Usage(prompt_tokens=2_000, completion_tokens=1_000)
    settle_finished(page, finished(2, spend=promised(2, waived=True), usage=twice), POLICY)
    assert events(page) == ["FeeWaived", "FeeWaived"]
    assert page.allotment(ACCOUNT, MONTH).list_cost_used_nano_usd == 3 * LIST_COST


def test_worst_cases_of_running_requests_count_until_they_end() -> None:
    page = page_with(USD)
    assert _waived(page, 1, worst_case_nano_usd=2 * LIST_COST)
    assert not _waived(page, 2)
    settle_finished(page, finished(1, spend=promised(1, waived=True)), POLICY)
    assert page.allotment(ACCOUNT, MONTH).list_cost_reserved_nano_usd == 0
    assert _waived(page, 3), "half of it is left after all"
    release(page, generation(3), ACCOUNT, "gone")
    assert page.allotment(ACCOUNT, MONTH).list_cost_reserved_nano_usd == 0


def test_a_fee_takes_nothing_of_the_allotment() -> None:
    page = page_with(USD)
    assert _waived(page, 1, worst_case_nano_usd=2 * LIST_COST)
    assert not _waived(page, 2)
    settle_finished(page, finished(2, spend=promised(2)), POLICY)
    expire(page, list(page.open_holds.values()))
    assert page.allotment(ACCOUNT, MONTH).list_cost_used_nano_usd == 0
    assert _waived(page, 3)
    assert _waived(page, 4)


def test_attempts_of_one_generation_do_not_stand_in_each_others_way() -> None:
    page = page_with(0)
    for hold in ("first", "second", "third"):
        command = authorize(hold=hold, worst_case_nano_usd=2 * LIST_COST)
        answer = authorize_spend(page, command, POLICY)
        assert isinstance(answer, SpendAuthorized)
        assert answer.waived
    assert page.allotment(ACCOUNT, MONTH).list_cost_reserved_nano_usd == 2 * LIST_COST


def test_what_is_taken_back_can_be_had_again() -> None:
    page = page_with(USD)
    for number in (1, 2):
        settle_finished(page, finished(number), POLICY)
    abandon(page, generation(1), ACCOUNT, "ours")
    assert page.allotment(ACCOUNT, MONTH).list_cost_used_nano_usd == LIST_COST
    settle_finished(page, finished(3), POLICY)
    assert events(page)[-1] == "FeeWaived"


def test_the_events_hold_the_numbers_that_made_them() -> None:
    page = page_with(USD)
    settle_finished(page, finished(1, spend=Spend(waived=True)), POLICY)
    none_free = FeePolicy(fee_percent=Decimal(5), allotment_rule="list_cost", free_requests=7)
    authorize_spend(page, authorize(2), none_free)
    settle_finished(page, finished(2, spend=promised(2)), none_free)
    waived, deducted = (each.event for each in page.entries.fee_events[1:])
    assert isinstance(waived, FeeWaived)
    assert isinstance(deducted, FeeDeducted)
    assert (waived.allotment_rule, waived.free_list_cost_nano_usd) == ("list_cost", 2 * LIST_COST)
    assert waived.list_cost_used_nano_usd == LIST_COST
    assert (waived.usage, waived.prices) == (USAGE, PRICES)
    assert (deducted.list_cost_nano_usd, deducted.fee_percent) == (LIST_COST, Decimal(5))
    assert (deducted.fee_nano_usd, deducted.fee_nano_usd_max) == (FEE, 4 * FEE)
    assert (deducted.list_cost_used_nano_usd, deducted.free_list_cost_nano_usd) == (LIST_COST, 0)
    assert (deducted.free_requests, deducted.allotment_used) == (7, 2)
    assert (deducted.usage, deducted.prices) == (USAGE, PRICES)


def test_an_account_may_have_a_rule_of_its_own_and_change_it_within_a_month() -> None:
    page = page_with(USD)
    by_requests = FeePolicy(fee_percent=Decimal(5), free_requests=2)
    settle_finished(page, finished(1), by_requests)
    own = AccountChanged(
        version=1,
        account_id=ACCOUNT,
        name="a",
        allotment_rule="list_cost",
        free_list_cost_nano_usd=LIST_COST + 1,
    )
    change_policy(page, own)
    for number in (2, 3):
        settle_finished(page, finished(number), by_requests)
    change_policy(page, AccountChanged(version=2, account_id=ACCOUNT, name="a"))
    settle_finished(page, finished(4), by_requests)
    assert events(page) == ["FeeWaived", "FeeWaived", "FeeDeducted", "FeeDeducted"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "end", "give up"]), st.integers(0, 9)), max_size=60
    )
)
def test_what_is_waived_exceeds_the_allotment_by_less_than_one_worst_case(
    steps: list[tuple[str, int]],
) -> None:
    """However many run at once; and nobody pays while enough for every running one is left."""
    page = page_with(USD)
    running: dict[int, Spend] = {}
    for begun, (kind, which) in enumerate(steps):
        if kind == "begin":
            before = page.allotment(ACCOUNT, MONTH)
            taken = before.list_cost_used_nano_usd + before.list_cost_reserved_nano_usd
            waived = _waived(page, begun)
            assert waived is (taken < POLICY.free_list_cost_nano_usd)
            running[begun] = promised(begun, waived=waived)
        elif running:
            number = list(running)[which % len(running)]
            spend = running.pop(number)
            if kind == "end":
                settle_finished(page, finished(number, spend=spend), POLICY)
            else:
                release(page, generation(number), ACCOUNT, "gone")
        allotment = page.allotment(ACCOUNT, MONTH)
        taken = allotment.list_cost_used_nano_usd + allotment.list_cost_reserved_nano_usd
        assert taken < POLICY.free_list_cost_nano_usd + LIST_COST
