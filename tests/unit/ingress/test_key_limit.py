"""What is left of an API key's limit, and when its window ends."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.domain.key_limit import KeyLimit, LimitReset
from shared.events.billing import Spending, SpendingPeriod

WEEK_DAYS = 7
SPENDING = Spending(
    day=SpendingPeriod(credits_nano_usd=1, byok_list_cost_nano_usd=10),
    week=SpendingPeriod(credits_nano_usd=2, byok_list_cost_nano_usd=20),
    month=SpendingPeriod(credits_nano_usd=4, byok_list_cost_nano_usd=40),
    total=SpendingPeriod(credits_nano_usd=8, byok_list_cost_nano_usd=80),
)


@pytest.mark.parametrize(
    ("reset", "spent"), [("daily", 1), ("weekly", 2), ("monthly", 4), (None, 8)]
)
def test_only_the_present_window_counts(reset: LimitReset | None, spent: int) -> None:
    limit = KeyLimit(amount_nano_usd=100, reset=reset)
    assert limit.remaining_nano_usd(SPENDING) == 100 - spent
    with_byok = KeyLimit(amount_nano_usd=100, reset=reset, includes_byok=True)
    assert with_byok.remaining_nano_usd(SPENDING) == 100 - 11 * spent


def test_without_an_amount_nothing_is_limited_and_byok_need_not_be_counted() -> None:
    assert KeyLimit(reset="daily", includes_byok=True).remaining_nano_usd(SPENDING) is None
    assert not KeyLimit(includes_byok=True).counts_byok
    assert not KeyLimit(amount_nano_usd=0).counts_byok
    assert KeyLimit(amount_nano_usd=0, includes_byok=True).counts_byok


def test_a_limit_that_was_lowered_past_what_was_spent_says_by_how_much() -> None:
    assert KeyLimit(amount_nano_usd=3).remaining_nano_usd(SPENDING) == -5


@given(st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1)), st.sampled_from(range(-12, 15)))  # noqa: DTZ001 - made aware below
def test_a_window_ends_at_a_midnight_to_come_in_utc(naive: datetime, hours: int) -> None:
    now = naive.replace(tzinfo=UTC) + timedelta(hours=hours)
    ends = {reset: KeyLimit(reset=reset).resets_at(now) for reset in ("daily", "weekly", "monthly")}
    for end in ends.values():
        assert end is not None
        assert end > now
        assert end.time() == datetime.min.time()
    day, week, month = ends["daily"], ends["weekly"], ends["monthly"]
    assert day is not None
    assert week is not None
    assert month is not None
    assert day - now <= timedelta(days=1)
    assert (week.weekday(), week - now <= timedelta(days=WEEK_DAYS)) == (0, True)
    assert (month.day, (month - timedelta(days=1)).month) == (1, now.month)


def test_a_limit_that_never_resets_has_no_window_that_ends() -> None:
    assert KeyLimit(amount_nano_usd=1).resets_at(datetime(2026, 1, 1, tzinfo=UTC)) is None
