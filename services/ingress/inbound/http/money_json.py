"""Amounts as JSON numbers in USD, written from integers; no float is ever in between."""

import msgspec

from shared.money import usd_string


def usd(nano_usd: int) -> msgspec.Raw:
    """The amount as a JSON number."""
    return msgspec.Raw(usd_string(nano_usd).encode())
