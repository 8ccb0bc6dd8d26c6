"""Numbers and words in a query string."""

from collections.abc import Iterable, Mapping
from typing import Final

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal

OFFSET_MAX: Final = 2**31 - 1
_DIGITS_MAX: Final = 10


def whole_number(
    query: Mapping[str, str], name: str, *, default: int, minimum: int, maximum: int
) -> int | Refusal:
    """A parameter between two bounds, both allowed."""
    text = query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        number = int(text)
        if minimum <= number <= maximum:
            return number
    message = f"expected a whole number between {minimum} and {maximum}"
    return refusals.invalid(message, field=name)


def words(given: Iterable[str], name: str, *, maximum: int) -> tuple[str, ...] | Refusal:
    """A parameter given several times, or with commas between, or both; each word once."""
    parts = (part.strip() for value in given for part in value.split(","))
    found = tuple(dict.fromkeys(part for part in parts if part))
    if len(found) > maximum:
        return refusals.invalid(f"expected at most {maximum} of them", field=name)
    return found
