"""Money arithmetic against an independent calculation with decimal."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events.usage import LongPromptPrices, Prices, Usage, list_cost
from shared.money import (
    NanoUsd,
    PicoUsd,
    fee_of,
    parse_price,
    parse_usd,
    price_string,
    rounded,
    usd_string,
)

tokens = st.integers(0, 2_000_000)
prices = st.integers(0, 10**9)


@given(st.integers(0, 10**24))
def test_an_amount_is_rounded_half_up_to_the_nano_dollar(exact: int) -> None:
    expected = (Decimal(exact) / 1000).quantize(Decimal(1), rounding=ROUND_HALF_UP)

    assert rounded(PicoUsd(exact)) == int(expected)


@given(st.integers(0, 10**20), st.decimals(0, 100, places=4))
def test_a_fee_is_its_percentage_of_the_exact_sum_rounded_once(
    exact: int, percent: Decimal
) -> None:
    expected = (Decimal(exact) * percent / 100 / 1000).quantize(Decimal(1), ROUND_HALF_UP)

    assert fee_of(PicoUsd(exact), percent) == int(expected)


@given(tokens, tokens, st.data(), prices, prices, prices)
def test_the_list_cost_prices_cached_tokens_once_and_at_their_own_price(
    prompt: int, completion: int, data: st.DataObject, price: int, out: int, cached_price: int
) -> None:
    cached = data.draw(st.integers(0, prompt))
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached)
    listed = Prices(prompt=price, completion=out, input_cache_read=cached_price)

    assert list_cost(usage, listed) == (
        (prompt - cached) * price + cached * cached_price + completion * out
    )


@given(tokens, tokens, st.integers(1, 1_000_000))
def test_a_longer_prompt_changes_the_price_of_every_token(
    prompt: int, completion: int, above: int
) -> None:
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=prompt // 2)
    listed = Prices(
        prompt=2,
        completion=10,
        input_cache_read=1,
        request=7,
        long_prompt=LongPromptPrices(
            above_tokens=above, prompt=4, completion=15, input_cache_read=3
        ),
    )
    fresh, cached = prompt - prompt // 2, prompt // 2

    assert list_cost(usage, listed) == 7 + (
        fresh * 4 + cached * 3 + completion * 15
        if prompt > above
        else fresh * 2 + cached + completion * 10
    )


def test_published_prices_are_read_exactly() -> None:
    assert parse_price("0.0000025") == 2_500_000
    assert parse_price("0.0000003125") == 312_500
    assert price_string(parse_price("0.00000028")) == "0.00000028"


@pytest.mark.parametrize(
    "text", ["", "abc", "NaN", "Infinity", "-0.1", "0.0000000000001", "1e99", "1" * 40]
)
def test_a_price_that_cannot_be_kept_exactly_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|has more|out of range"):
        parse_price(text)


@given(st.integers(-(10**20), 10**20))
def test_amounts_survive_their_decimal_string(amount: int) -> None:
    assert parse_usd(usd_string(NanoUsd(amount))) == amount


@given(st.integers(1, 19))
def test_a_decimal_place_too_many_is_never_rounded_away(more: int) -> None:
    with pytest.raises(ValueError, match="has more decimal places"):
        parse_usd("1." + "0" * (9 + more) + "1")
