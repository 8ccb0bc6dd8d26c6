"""A hundred usages and prices, worked out a second time with `decimal` from the published prices."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from itertools import product

import pytest

from services.billing.domain.policy import FeePolicy
from services.billing.domain.settle import settle_finished
from services.dispatcher.domain.cost import Promise, reply_usage
from shared.events.fees import CreditsCharged, FeeDeducted
from shared.events.generations import Spend
from shared.events.usage import LongPromptPrices, Prices, Usage
from shared.money import parse_price
from tests.unit.billing.made import finished, page_with


@dataclass(frozen=True)
class _Published:
    """Prices as strings of USD a token (`request` a request), as providers publish them."""

    name: str
    prompt: str
    completion: str
    read: str | None = None
    write: str | None = None
    request: str = "0"
    above: int | None = None
    long: tuple[str, str, str | None, str | None] = ("0", "0", None, None)


_PUBLISHED = (
    _Published("plain", "0.0000025", "0.00001"),
    _Published("cached", "0.000003", "0.000015", read="0.0000003", write="0.00000375"),
    _Published("read only", "0.0000011", "0.0000044", read="0.000000275"),
    _Published("write only", "0.00000033", "0.00000165", write="0.0000004125"),
    _Published("tiny", "0.000000000001", "0.000000000003", read="0.000000000001"),
    _Published("below a nano-dollar", "0.0000000375", "0.0000003125", read="0.000000009375"),
    _Published("free prompt", "0", "0.0000005", read="0", write="0"),
    _Published("a price a request", "0.000001", "0.000001", request="0.005"),
    _Published("huge", "12.345678901234", "98.765432109876", read="1.234567890123"),
    _Published(
        "long prompts",
        "0.00000125",
        "0.00001",
        read="0.000000125",
        above=200_000,
        long=("0.0000025", "0.000015", "0.00000025", None),
    ),
)
_USAGES = (
    Usage(prompt_tokens=1, completion_tokens=1),
    Usage(prompt_tokens=0, completion_tokens=7),
    Usage(prompt_tokens=1_000, completion_tokens=500),
    Usage(prompt_tokens=1_234, completion_tokens=567, cached_tokens=1_111),
    Usage(prompt_tokens=999, completion_tokens=3, cached_tokens=333, cache_write_tokens=333),
    Usage(prompt_tokens=4_321, completion_tokens=987, reasoning_tokens=900),
    Usage(prompt_tokens=50, completion_tokens=50, cached_tokens=20, cache_write_tokens=30),
    Usage(prompt_tokens=200_000, completion_tokens=8_191, cached_tokens=12_345),
    Usage(prompt_tokens=200_001, completion_tokens=8_191, cached_tokens=12_345),
    Usage(prompt_tokens=987_654_321, completion_tokens=123_456_789, cache_write_tokens=7_777_777),
)
_PERCENTS = tuple(Decimal(each) for each in ("5", "0.5", "7.25", "0.0001", "100"))
_TABLE = tuple(product(_PUBLISHED, _USAGES))


def _prices(published: _Published) -> Prices:
    def price(text: str | None) -> int | None:
        return None if text is None else parse_price(text)

    prompt, completion, read, write = published.long
    return Prices(
        prompt=parse_price(published.prompt),
        completion=parse_price(published.completion),
        input_cache_read=price(published.read),
        input_cache_write=price(published.write),
        request=parse_price(published.request),
        long_prompt=None
        if published.above is None
        else LongPromptPrices(
            above_tokens=published.above,
            prompt=parse_price(prompt),
            completion=parse_price(completion),
            input_cache_read=price(read),
            input_cache_write=price(write),
        ),
    )


def _dollars(published: _Published, usage: Usage) -> Decimal:
    """The exact list cost in USD."""
    prompt, completion = published.prompt, published.completion
    read, write = published.read, published.write
    if published.above is not None and usage.prompt_tokens > published.above:
        prompt, completion, read, write = published.long
    fresh = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
    return (
        fresh * Decimal(prompt)
        + usage.cached_tokens * Decimal(prompt if read is None else read)
        + usage.cache_write_tokens * Decimal(prompt if write is None else write)
        + usage.completion_tokens * Decimal(completion)
        + Decimal(published.request)
    )


def _nano(dollars: Decimal) -> int:
    return int((dollars * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def test_the_table_has_a_hundred_rows_of_every_kind() -> None:
    assert len(_TABLE) == 100
    with localcontext(prec=80):
        costs = [_nano(_dollars(published, usage)) for published, usage in _TABLE]
    assert min(costs) == 0
    assert max(costs) > 10**19, "past 64 bits"
    assert len(set(costs)) > 90


@pytest.mark.parametrize(
    ("published", "usage"),
    _TABLE,
    ids=[f"{published.name} {place % 10}" for place, (published, _) in enumerate(_TABLE)],
)
def test_what_is_booked_and_told_equals_what_decimal_says_to_the_nano_dollar(
    published: _Published, usage: Usage
) -> None:
    prices = _prices(published)
    with localcontext(prec=80):
        dollars = _dollars(published, usage)
        list_cost = _nano(dollars)
        fees = {percent: _nano(dollars * percent / 100) for percent in _PERCENTS}
    page = page_with(10**18)
    settle_finished(
        page,
        finished(1, is_byok=False, usage=usage, prices=prices),
        FeePolicy(fee_percent=Decimal(5), free_requests=0),
    )
    charged = page.entries.fee_events[-1].event
    assert isinstance(charged, CreditsCharged)
    assert (charged.list_cost_nano_usd, charged.charge_nano_usd) == (list_cost, list_cost)
    for number, (percent, fee) in enumerate(fees.items(), start=2):
        policy = FeePolicy(fee_percent=percent, free_requests=0)
        settle_finished(page, finished(number, usage=usage, prices=prices), policy)
        deducted = page.entries.fee_events[-1].event
        assert isinstance(deducted, FeeDeducted)
        assert (deducted.list_cost_nano_usd, deducted.fee_nano_usd) == (list_cost, fee)
        promise = Promise(spend=Spend(fee_percent=percent))
        told = reply_usage(usage, prices, promise, is_byok=True)
        assert (told.cost_nano_usd, told.list_cost_nano_usd) == (fee, list_cost)
