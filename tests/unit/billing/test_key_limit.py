"""Limits of API keys: windows, what counts in them, and that none is ever exceeded."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.domain.abandon import abandon, release
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.generation import day_of_generation
from services.billing.domain.key_limit import (
    ALL_DAYS,
    KeyLimit,
    KeyLimits,
    KeyUse,
    Window,
    counted,
    newest_limits,
    told_limit,
    window_of,
)
from services.billing.domain.page import Page
from services.billing.domain.policy import FeePolicy
from services.billing.domain.settle import settle_finished
from shared.events.billing import (
    ApiKeyLimit,
    KeyLimitReached,
    LimitReset,
    SpendAuthorized,
    SpendRefused,
)
from shared.events.generations import Spend
from shared.events.usage import Usage
from shared.ids import ApiKeyHash, HoldId
from tests.unit.billing.made import (
    ACCOUNT,
    API_KEY,
    LIST_COST,
    NOW,
    POLICY,
    PRICES,
    USD,
    authorize,
    finished,
    generation,
    page_with,
)

NO_ALLOTMENT = FeePolicy(fee_percent=Decimal(5), free_requests=0)


def limited(
    page: Page,
    limit_nano_usd: int,
    *,
    reset: LimitReset | None = None,
    include_byok: bool = False,
) -> KeyLimit:
    """Read a key's limit as a transaction does: days of the books, and open holds."""
    limit = KeyLimit(
        api_key_hash=API_KEY,
        limit_nano_usd=limit_nano_usd,
        limit_reset=reset,
        include_byok=include_byok,
        version=1,
    )
    page.key_limits = KeyLimits({API_KEY: limit}, uses(page, limit))
    return limit


def uses(page: Page, limit: KeyLimit) -> dict[tuple[ApiKeyHash, Window], KeyUse]:
    found: dict[tuple[ApiKeyHash, Window], KeyUse] = {}

    def add(day: date, spent: int, reserved: int) -> None:
        key = (API_KEY, window_of(limit.limit_reset, day))
        use = found.get(key, KeyUse())
        found[key] = KeyUse(use.spent_nano_usd + spent, use.reserved_nano_usd + reserved)

    for (_, _, day), spent in page.entries.spent.items():
        byok = spent.byok_list_cost_nano_usd if limit.include_byok else 0
        add(day, spent.credits_nano_usd + byok, 0)
    for hold in page.open_holds.values():
        add(day_of_generation(hold.generation_id), 0, counted(hold, limit))
    return found


@pytest.mark.parametrize(
    ("reset", "first", "next_first"),
    [
        ("daily", date(2026, 2, 28), date(2026, 3, 1)),
        ("weekly", date(2026, 2, 23), date(2026, 3, 2)),
        ("monthly", date(2026, 2, 1), date(2026, 3, 1)),
        (None, ALL_DAYS.first, ALL_DAYS.next_first),
    ],
)
def test_a_window_is_the_day_the_week_from_monday_or_the_month(
    reset: LimitReset | None, first: date, next_first: date
) -> None:
    assert window_of(reset, date(2026, 2, 28)) == Window(first, next_first)


@given(
    st.sampled_from(["daily", "weekly", "monthly"]),
    st.dates(date(2000, 1, 1), date(2100, 1, 1)),
)
def test_windows_follow_each_other_without_a_gap(reset: LimitReset, day: date) -> None:
    window = window_of(reset, day)
    assert window.first <= day < window.next_first
    assert window_of(reset, window.next_first).first == window.next_first
    assert window_of(reset, window.next_first - timedelta(days=1)) == window


@given(st.permutations([(1, 10), (2, None), (3, 30), (3, 30)]))
def test_of_what_is_known_and_what_was_told_the_newest_state_counts(
    states: list[tuple[int, int | None]],
) -> None:
    other = told_limit(ApiKeyHash("cd" * 32), ApiKeyLimit(version=9, limit_nano_usd=1))
    limits = [
        told_limit(API_KEY, ApiKeyLimit(version=version, limit_nano_usd=limit_nano_usd))
        for version, limit_nano_usd in states
    ]
    newest = newest_limits([limits[0], other, *limits[1:]])
    assert newest == {API_KEY: limits[states.index((3, 30))], other.api_key_hash: other}


@pytest.mark.parametrize(
    ("known", "told", "passes"),
    [
        (None, ApiKeyLimit(version=1, limit_nano_usd=LIST_COST), False),
        (ApiKeyLimit(version=1), ApiKeyLimit(version=2, limit_nano_usd=LIST_COST), False),
        (ApiKeyLimit(version=2), ApiKeyLimit(version=1, limit_nano_usd=LIST_COST), True),
        (ApiKeyLimit(version=1, limit_nano_usd=LIST_COST), ApiKeyLimit(version=2), True),
        (ApiKeyLimit(version=2, limit_nano_usd=LIST_COST), ApiKeyLimit(version=1), False),
        (ApiKeyLimit(version=2, limit_nano_usd=LIST_COST), None, False),
    ],
)
def test_the_newer_of_two_limits_binds_in_both_directions(
    known: ApiKeyLimit | None,
    told: ApiKeyLimit | None,
    passes: bool,  # noqa: FBT001 - parametrised
) -> None:
    page = page_with(USD)
    limits = [told_limit(API_KEY, each) for each in (known, told) if each is not None]
    page.key_limits = KeyLimits(newest_limits(limits))
    command = authorize(is_byok=False, api_key_limit=told)
    assert isinstance(authorize_spend(page, command, POLICY), SpendAuthorized) is passes


def test_what_is_over_the_limit_is_refused_with_what_is_left_and_when_it_resets() -> None:
    page = page_with(USD)
    limited(page, 10 * LIST_COST, reset="weekly")
    authorize_spend(page, authorize(1, is_byok=False), POLICY)
    authorize_spend(page, authorize(2, is_byok=False), POLICY)
    answer = authorize_spend(page, authorize(3, is_byok=False), POLICY)
    assert isinstance(answer, SpendRefused)
    assert answer.code == "key_limit_exceeded"
    assert (answer.needed_nano_usd, answer.available_nano_usd) == (4 * LIST_COST, 2 * LIST_COST)
    assert answer.affordable_nano_usd == 2 * LIST_COST
    assert answer.key_limit == KeyLimitReached(
        limit_nano_usd=10 * LIST_COST,
        left_nano_usd=2 * LIST_COST,
        limit_reset="weekly",
        resets_at=datetime(2025, 11, 17, tzinfo=UTC),
    )
    assert page.account(ACCOUNT).held_nano_usd == 8 * LIST_COST


def test_a_later_attempt_of_a_generation_counts_in_place_of_the_one_before() -> None:
    page = page_with(USD)
    limited(page, 4 * LIST_COST)
    for hold in ("first", "second", "third"):
        answer = authorize_spend(page, authorize(hold=hold, is_byok=False), POLICY)
        assert isinstance(answer, SpendAuthorized)


def test_own_keys_count_only_where_the_limit_says_so() -> None:
    for include_byok, passes in ((False, True), (True, False)):
        page = page_with(USD)
        limited(page, LIST_COST, include_byok=include_byok)
        answer = authorize_spend(page, authorize(), POLICY)
        assert isinstance(answer, SpendAuthorized) is passes


def test_a_waived_request_passes_a_limit_that_is_used_up() -> None:
    page = page_with(USD)
    settle_finished(page, finished(1, is_byok=False), POLICY)
    limited(page, 0)
    assert isinstance(authorize_spend(page, authorize(2), POLICY), SpendAuthorized)


def test_what_was_spent_before_the_limit_counts() -> None:
    page = page_with(USD)
    settle_finished(page, finished(1, is_byok=False), POLICY)
    limited(page, 5 * LIST_COST - 1, reset="monthly")
    answer = authorize_spend(page, authorize(2, is_byok=False), POLICY)
    assert isinstance(answer, SpendRefused)
    assert answer.available_nano_usd == 4 * LIST_COST - 1


@given(
    credits_nano_usd=st.integers(0, 3 * LIST_COST),
    limit_nano_usd=st.none() | st.integers(0, 3 * LIST_COST),
    is_byok=st.booleans(),
    include_byok=st.booleans(),
    free=st.integers(0, 1),
)
def test_what_is_said_to_be_affordable_is_the_most_that_passes(
    credits_nano_usd: int,
    limit_nano_usd: int | None,
    is_byok: bool,  # noqa: FBT001 - Hypothesis gives it by name
    include_byok: bool,  # noqa: FBT001 - as above
    free: int,
) -> None:
    policy = FeePolicy(fee_percent=Decimal(5), free_requests=free)

    def answer(worst_case_nano_usd: int) -> object:
        page = page_with(credits_nano_usd)
        if limit_nano_usd is not None:
            limited(page, limit_nano_usd, include_byok=include_byok)
        command = authorize(is_byok=is_byok, worst_case_nano_usd=worst_case_nano_usd)
        return authorize_spend(page, command, policy)

    refused = answer(100 * LIST_COST)
    if isinstance(refused, SpendRefused):
        affordable = refused.affordable_nano_usd
        assert affordable is not None
        assert isinstance(answer(affordable), SpendAuthorized)
        assert isinstance(answer(affordable + 1), SpendRefused)


@dataclass(frozen=True)
class _Step:
    kind: str
    number: int
    hold: int
    is_byok: bool
    worst_tokens: int
    used_share: int


_steps = st.builds(
    _Step,
    kind=st.sampled_from(["authorize", "authorize", "finish", "finish", "release", "abandon"]),
    number=st.integers(0, 7),
    hold=st.integers(0, 1),
    is_byok=st.booleans(),
    worst_tokens=st.integers(1, 2_000),
    used_share=st.integers(1, 100),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(_steps, max_size=40),
    st.sampled_from(["daily", "weekly", "monthly", None]),
    st.booleans(),
    st.integers(0, 40_000_000),
)
def test_no_window_overshoots_whatever_the_order(
    steps: list[_Step],
    reset: LimitReset | None,
    include_byok: bool,  # noqa: FBT001 - Hypothesis gives it
    limit_nano_usd: int,
) -> None:
    page = page_with(USD)
    limit = limited(page, limit_nano_usd, reset=reset, include_byok=include_byok)
    for step in steps:
        _take(page, step)
        # what the page keeps up as it goes is what a new transaction would read
        again = uses(page, limit)
        for key, use in again.items():
            assert use.spent_nano_usd + use.reserved_nano_usd <= limit_nano_usd
            kept = page.key_limits.uses.get(key, KeyUse())
            assert kept.reserved_nano_usd == use.reserved_nano_usd
        page.key_limits = KeyLimits({API_KEY: limit}, again)


def _take(page: Page, step: _Step) -> None:
    day = NOW + timedelta(days=9 * (step.number % 4))
    generation_id = generation(step.number, at=day)
    hold = HoldId(f"{step.number}/{step.hold}")
    match step.kind:
        case "authorize":
            command = authorize(
                step.number,
                hold=hold,
                generation_id=generation_id,
                is_byok=step.is_byok,
                worst_case_nano_usd=step.worst_tokens * PRICES.completion // 1_000,
            )
            authorize_spend(page, command, NO_ALLOTMENT)
        case "finish":
            open_hold = page.open_hold(generation_id, ACCOUNT)
            if open_hold is None:
                return  # nobody may call a provider without one
            most = open_hold.worst_case_nano_usd * 1_000 // PRICES.completion
            fact = finished(
                generation_id=generation_id,
                is_byok=open_hold.is_byok,
                usage=Usage(prompt_tokens=0, completion_tokens=most * step.used_share // 100),
                spend=Spend(hold_id=open_hold.hold_id),
            )
            settle_finished(page, fact, NO_ALLOTMENT)
        case "release":
            release(page, generation_id, ACCOUNT, "gone")
        case _:
            abandon(page, generation_id, ACCOUNT, "ours")
