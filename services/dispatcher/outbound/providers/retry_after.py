"""When a provider wants to be asked again, from whichever header says so."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final

RETRY_AFTER_SECONDS_MAX: Final = 86_400.0
"""More is taken as a day, so that no provider's answer breaks arithmetic with dates."""

_MILLISECONDS: Final = ("retry-after-ms", "x-ms-retry-after-ms")
_CHARACTERS_MAX: Final = 64


def read_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from `now`; None when nothing readable is there. `headers` ignore case.

    Milliseconds (OpenAI, Azure) are more precise than `Retry-After`, which is seconds or a date
    (RFC 9110, 10.2.3).
    """
    for name in _MILLISECONDS:
        seconds = _number(headers.get(name))
        if seconds is not None:
            return _bounded(seconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is None and text is not None:
        seconds = _until(text, now)
    return None if seconds is None else _bounded(seconds)


def parse_seconds(text: str) -> float | None:
    """Seconds as a number says them; None when it is none."""
    seconds = _number(text)
    return None if seconds is None else _bounded(seconds)


def _number(text: str | None) -> float | None:
    if text is None or len(text) > _CHARACTERS_MAX:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None


def _until(text: str, now: datetime) -> float | None:
    if len(text) > _CHARACTERS_MAX:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()


def _bounded(seconds: float) -> float:
    return min(RETRY_AFTER_SECONDS_MAX, max(0.0, seconds))
