"""Money without floats.

Prices are integers in pico-USD a token (1 USD = 10^12 pico-USD), because published prices go below
a nano-dollar a token. An amount is the exact sum of tokens times price, rounded once, half up, to
nano-USD (1 USD = 10^9 nano-USD). A fee is a percentage of the exact sum, rounded once as well.
"""

from decimal import Context, Decimal, InvalidOperation
from typing import NewType

NanoUsd = NewType("NanoUsd", int)
PicoUsd = NewType("PicoUsd", int)

NANO_PER_USD = 1_000_000_000
_PICO_PER_NANO = 1_000
_PICO_PER_USD = NANO_PER_USD * _PICO_PER_NANO
_PERCENT_PLACES = 4
_PERCENT_SCALE = 10**_PERCENT_PLACES
_DIGITS_MAX = 30
_EXACT = Context(prec=2 * _DIGITS_MAX)
"""Holds any amount of `_DIGITS_MAX` digits in units; the usual context would round some of them."""


def _exact_units(text: str, units_per_usd: int) -> int:
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise ValueError("must be a decimal number") from error
    if not amount.is_finite() or len(amount.as_tuple().digits) > _DIGITS_MAX:
        raise ValueError("must be a finite decimal number of at most 30 digits")
    if not -_DIGITS_MAX < amount.adjusted() < _DIGITS_MAX:
        raise ValueError("is out of range")
    scaled = _EXACT.multiply(amount, units_per_usd)
    if scaled != scaled.to_integral_value():
        raise ValueError("has more decimal places than can be kept")
    return int(scaled)


def parse_price(usd_per_token: str) -> PicoUsd:
    """Read a decimal string of USD a token (`"0.0000025"`); exact, or ValueError."""
    price = _exact_units(usd_per_token, _PICO_PER_USD)
    if price < 0:
        raise ValueError("must not be negative")
    return PicoUsd(price)


def parse_usd(usd: str) -> NanoUsd:
    """Read a decimal string of USD (`"5.00"`); exact to the nano-dollar, or ValueError."""
    return NanoUsd(_exact_units(usd, NANO_PER_USD))


def parse_percent(percent: Decimal) -> int:
    """A percentage as an integer of ten-thousandths of a percent; ValueError past four places."""
    scaled = percent * _PERCENT_SCALE
    if scaled != scaled.to_integral_value() or not 0 <= percent <= 100:  # noqa: PLR2004 - percent
        raise ValueError("must be between 0 and 100 with at most four decimal places")
    return int(scaled)


def _divide_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def rounded(exact: PicoUsd) -> NanoUsd:
    """The amount in nano-USD, half up."""
    return NanoUsd((exact + _PICO_PER_NANO // 2) // _PICO_PER_NANO)


def fee_of(exact: PicoUsd, percent: Decimal) -> NanoUsd:
    """`percent` of an exact sum in nano-USD, rounded once, half up."""
    share = exact * parse_percent(percent)
    return NanoUsd(_divide_half_up(share, 100 * _PERCENT_SCALE * _PICO_PER_NANO))


def usd_string(amount: int) -> str:
    """An amount in nano-USD as a plain decimal string of USD, for people and for JSON."""
    if not amount:  # what a waived fee costs: the most frequent of all
        return "0"
    if 0 < amount < NANO_PER_USD:  # what a request costs
        return f"0.{amount:09d}".rstrip("0")
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), NANO_PER_USD)
    places = f"{part:09d}".rstrip("0")
    return f"{sign}{whole}.{places}" if places else f"{sign}{whole}"


def price_string(price: PicoUsd) -> str:
    """A price in pico-USD a token as a plain decimal string of USD a token."""
    whole, part = divmod(price, _PICO_PER_USD)
    places = f"{part:012d}".rstrip("0")
    return f"{whole}.{places}" if places else f"{whole}"
