"""Effort into budget and back, and counts that are told in different ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.conversation import Effort, Reasoning
from services.dispatcher.domain.counts import ProviderCounts
from services.dispatcher.domain.thinking import (
    BUDGET_TOKENS_MAX,
    BUDGET_TOKENS_MIN,
    budget_tokens,
    effort_of,
)
from shared.events.usage import Usage


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 1024), ("low", 2000), (None, 5000), ("high", 8000), ("max", 9500)],
)
def test_an_effort_is_a_share_of_the_limit(effort: Effort | None, budget: int) -> None:
    assert budget_tokens(Reasoning(is_wanted=True, effort=effort), 10_000) == budget


@given(st.integers(0, 300_000), st.integers(1, 300_000))
def test_a_budget_leaves_room_for_the_answer(wanted: int, max_tokens: int) -> None:
    budget = budget_tokens(Reasoning(is_wanted=True, max_tokens=wanted), max_tokens)
    if budget is None:
        assert max_tokens <= BUDGET_TOKENS_MIN
    else:
        assert BUDGET_TOKENS_MIN <= budget < max_tokens


def test_an_effort_never_takes_more_than_can_be_thought_with() -> None:
    asked = Reasoning(is_wanted=True, effort="high")
    assert budget_tokens(asked, 1_000_000) == BUDGET_TOKENS_MAX


@pytest.mark.parametrize(
    ("budget", "effort"), [(100, "low"), (2_001, "medium"), (8_000, "high"), (9_000, "xhigh")]
)
def test_a_budget_is_an_effort_where_only_efforts_are_known(budget: int, effort: Effort) -> None:
    assert effort_of(Reasoning(is_wanted=True, max_tokens=budget), 10_000) == effort


def test_counts_told_apart_are_added_once() -> None:
    told = ProviderCounts(
        input_tokens=10,
        output_tokens=5,
        cache_read_tokens=100,
        cache_write_tokens=20,
        reasoning_tokens=3,
        cache_in_input=False,
        reasoning_in_output=False,
    )
    assert told.inclusive() == Usage(
        prompt_tokens=130,
        completion_tokens=8,
        cached_tokens=100,
        cache_write_tokens=20,
        reasoning_tokens=3,
    )


def test_counts_told_together_are_not_added_again() -> None:
    told = ProviderCounts(
        input_tokens=130,
        output_tokens=8,
        cache_read_tokens=100,
        cache_write_tokens=20,
        reasoning_tokens=3,
        cache_in_input=True,
        reasoning_in_output=True,
    )
    assert told.inclusive().prompt_tokens == 130
    assert told.inclusive().completion_tokens == 8


@given(
    whole=st.integers(-5, 50),
    read=st.integers(-5, 50),
    write=st.integers(-5, 50),
    apart=st.booleans(),
    included=st.booleans(),
)
def test_a_part_never_exceeds_its_whole(
    *, whole: int, read: int, write: int, apart: bool, included: bool
) -> None:
    usage = ProviderCounts(
        input_tokens=whole,
        output_tokens=whole,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=read,
        cache_in_input=apart,
        reasoning_in_output=included,
    ).inclusive()
    assert 0 <= usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    assert 0 <= usage.reasoning_tokens <= usage.completion_tokens
