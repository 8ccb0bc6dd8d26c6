"""Ids tell their time and never show a key."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

import pytest

from shared.ids import (
    GenerationId,
    first_generation_id,
    hash_api_key,
    is_of_month,
    month_of,
    new_generation_id,
    new_instance_id,
    started_at,
)


def test_a_generation_tells_when_it_began() -> None:
    made = started_at(new_generation_id())

    assert abs(made - datetime.now(UTC)) < timedelta(seconds=5)  # noqa: TID251 - the real clock


def test_the_month_is_that_of_utc() -> None:
    assert month_of(datetime.fromisoformat("2026-02-01T00:30:00+01:00")) == "2026-01"


@pytest.mark.parametrize("text", ["", "gen-", "gen-x", "abc", "gen-" + "0" * 36])
def test_what_is_no_generation_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        started_at(GenerationId(text))


def test_a_later_start_of_the_same_process_sorts_later() -> None:
    assert new_instance_id("ingress", 0) < new_instance_id("ingress", 0)


def test_a_key_is_kept_as_its_sha256_even_when_it_is_nonsense() -> None:
    assert len(hash_api_key("\ud800")) == 64
    assert hash_api_key("abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize("month", ["2026-01", "2026-02", "2024-02", "2026-12"])
def test_a_generation_is_of_the_month_in_which_it_began(month: str) -> None:
    begin = date.fromisoformat(f"{month}-01")
    days = monthrange(begin.year, begin.month)[1]
    its = [first_generation_id(begin, days_later=day) for day in range(days)]
    others = [first_generation_id(begin, days_later=day) for day in (-1, days)]

    assert all(is_of_month(each, month) for each in its)
    assert not any(is_of_month(each, month) for each in others)
    assert is_of_month(new_generation_id(), month_of(datetime.now(UTC)))  # noqa: TID251 - the real clock


def test_the_first_id_of_a_day_sorts_before_all_of_that_day_and_after_all_before() -> None:
    day = date(2026, 3, 1)
    first, next_first = first_generation_id(day), first_generation_id(day, days_later=1)

    assert started_at(first) == datetime(2026, 3, 1, tzinfo=UTC)
    assert started_at(next_first) == datetime(2026, 3, 2, tzinfo=UTC)
    assert first < next_first < new_generation_id()
    assert first_generation_id(date.min) == "gen-00000000-0000-7000-8000-000000000000"
