from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.allotment import (
    AMPLE_MARGIN_NANO_USD,
    AMPLE_MARGIN_REQUESTS,
    FeeExpected,
    RecentUse,
    fee_expected,
    surely_waived,
)
from services.dispatcher.domain.cost import Promise, reply_usage
from services.dispatcher.domain.estimate import (
    affordable_max_tokens,
    delivered_bytes,
    estimated_usage,
    worst_case,
)
from shared.events.billing import AccountBalance, AllotmentRule
from shared.events.generations import Spend
from shared.events.replies import Choice, FunctionCall, Message, ToolCall
from shared.events.usage import LongPromptPrices, Prices, Usage, list_cost
from shared.money import PicoUsd, fee_of, rounded
from tests.unit.dispatcher.made import LIST_COST, PRICES, USAGE, attempt, balance, request

MONTH = "2026-11"
ENDPOINT = attempt().endpoint


@pytest.mark.parametrize(
    ("rule", "margin"), [("requests", AMPLE_MARGIN_REQUESTS), ("list_cost", AMPLE_MARGIN_NANO_USD)]
)
def test_only_a_fresh_state_of_the_right_month_with_ample_allotment_is_sure(
    rule: AllotmentRule, margin: int
) -> None:
    free = 10 * margin
    ample = balance(month=MONTH, used=0, free=free, rule=rule)
    edge = balance(month=MONTH, used=9 * margin, free=free, rule=rule)

    def sure(
        state: AccountBalance, *, fresh: bool = True, its_month: bool = True, recent: int = 0
    ) -> bool:
        return surely_waived(state, is_fresh=fresh, is_of_its_month=its_month, used_recently=recent)

    assert sure(ample)
    assert not sure(ample, fresh=False)
    assert not sure(ample, its_month=False)
    assert not sure(ample, recent=9 * margin)
    assert sure(ample, recent=9 * margin - 1)
    assert not sure(edge)
    assert sure(balance(month=MONTH, used=9 * margin - 1, free=free, rule=rule))


@pytest.mark.parametrize("rule", ["requests", "list_cost"])
def test_a_fee_is_foretold_where_nothing_or_plenty_is_left(rule: AllotmentRule) -> None:
    def told(used: int, *, fresh: bool = True) -> FeeExpected | None:
        state = balance(month=MONTH, used=used, free=10**15, rule=rule)
        return fee_expected(state, is_fresh=fresh, month=MONTH, used_recently=0)

    assert told(0) == FeeExpected(Decimal(5), waived=True)
    assert told(10**15 - 1) == FeeExpected(Decimal(5), waived=None)
    assert told(10**15) == FeeExpected(Decimal(5), waived=False)
    assert told(10**15, fresh=False) == FeeExpected(Decimal(5), waived=None)


def test_recent_use_is_that_of_five_minutes_and_does_not_grow() -> None:
    recent = RecentUse()
    for second in range(0, 1_000, 5):
        recent.observe(balance(month=MONTH, used=second * 10), second)
    now = balance(month=MONTH, used=9_950)
    assert 3_000 <= recent.used(now, 995) <= 3_150
    assert recent.used(balance(month="2026-12", used=7), 995) == 7
    by_list_cost = balance(month=MONTH, used=12_000, rule="list_cost")
    assert recent.used(by_list_cost, 995) == 12_000, "what was used by another rule says nothing"


def test_the_worst_case_is_the_prompt_at_two_bytes_a_token_and_the_longest_answer() -> None:
    small = worst_case(request(max_tokens=100), ENDPOINT)
    twice = worst_case(request(max_tokens=100, n=2), ENDPOINT)
    unbounded = worst_case(request(), ENDPOINT)
    assert 100 * 10_000 < small < 110 * 10_000 + 100 * 2_500
    assert twice - small == 100 * 10_000
    assert unbounded - small == (16_384 - 100) * 10_000


def test_a_huge_prompt_is_capped_by_the_context_length() -> None:
    huge = request(messages=[{"role": "user", "content": "x" * 2_000_000}], max_tokens=1)
    assert worst_case(huge, ENDPOINT) == 128_000 * 2_500 + 10_000


DEARER_FROM_64K = msgspec.structs.replace(
    PRICES,
    long_prompt=LongPromptPrices(
        above_tokens=64_000, prompt=PRICES.prompt * 2, completion=PRICES.completion * 2
    ),
)


@given(st.integers(0, 128_000), st.integers(0, 1_000), st.sampled_from([PRICES, DEARER_FROM_64K]))
def test_no_answer_within_its_limits_costs_more_than_its_worst_case(
    prompt_tokens: int, completion_tokens: int, prices: Prices
) -> None:
    asked = request(
        messages=[{"role": "user", "content": "x" * (2 * prompt_tokens)}], max_tokens=1_000
    )
    usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    assert rounded(list_cost(usage, prices)) <= worst_case(asked, replace(ENDPOINT, prices=prices))


@given(
    st.integers(0, 50_000_000), st.none() | st.integers(1, 20_000), st.integers(1, 3), st.booleans()
)
def test_the_affordable_max_tokens_are_the_most_that_cost_no_more(
    affordable_nano_usd: int,
    max_tokens: int | None,
    choices: int,
    dearer: bool,  # noqa: FBT001 - Hypothesis gives it
) -> None:
    endpoint = replace(ENDPOINT, prices=DEARER_FROM_64K if dearer else PRICES)
    wanted = request(n=choices, **({} if max_tokens is None else {"max_tokens": max_tokens}))
    fits = affordable_max_tokens(wanted, endpoint, affordable_nano_usd)
    assert 0 <= fits <= min(max_tokens or 16_384, 16_384)
    if fits:
        assert worst_case(request(n=choices, max_tokens=fits), endpoint) <= affordable_nano_usd
    if fits < min(max_tokens or 16_384, 16_384):
        assert worst_case(request(n=choices, max_tokens=fits + 1), endpoint) > affordable_nano_usd


def test_estimates_count_text_tool_calls_and_bytes_of_every_script() -> None:
    call = ToolCall(function=FunctionCall(name="look", arguments='{"a":1}'))
    choices = [
        Choice(message=Message(content="ab", reasoning="cd", tool_calls=[call])),
        Choice(message=Message(content="日本")),
    ]
    assert delivered_bytes(choices) == 4 + 11 + 6
    found = estimated_usage(request(), ENDPOINT, 21)
    assert (found.completion_tokens, found.estimated) == (6, True)
    assert found.prompt_tokens > 0


def test_a_fee_is_what_billing_would_post_and_never_above_the_worst_cases() -> None:
    spend = Spend(waived=False, fee_percent=Decimal(5))
    told = reply_usage(USAGE, PRICES, Promise(spend=spend), is_byok=True)
    assert told.cost_nano_usd == fee_of(list_cost(USAGE, PRICES), Decimal(5))
    assert told.list_cost_nano_usd == LIST_COST
    assert (
        told.list_prompt_cost_nano_usd + told.list_completion_cost_nano_usd
        == told.list_cost_nano_usd
    )
    capped = Promise(spend=spend, worst_case_nano_usd=1_000)
    assert capped.fee(PicoUsd(10**12)) == 50
