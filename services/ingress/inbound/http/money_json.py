"""Amounts as JSON numbers in USD, prices as strings, from integers; no float is ever in between."""

import msgspec

from shared.events.usage import Prices
from shared.money import PicoUsd, price_string, usd_string


def usd(nano_usd: int) -> msgspec.Raw:
    """The amount as a JSON number."""
    return msgspec.Raw(usd_string(nano_usd).encode())


def pricing(prices: Prices) -> dict[str, str]:
    """An endpoint's list prices, in decimal strings of USD a token (`request` a request)."""
    optional = {
        "input_cache_read": prices.input_cache_read,
        "input_cache_write": prices.input_cache_write,
    }
    return {
        "prompt": price_string(PicoUsd(prices.prompt)),
        "completion": price_string(PicoUsd(prices.completion)),
        "request": price_string(PicoUsd(prices.request)),
        **{
            name: price_string(PicoUsd(price))
            for name, price in optional.items()
            if price is not None
        },
    }
