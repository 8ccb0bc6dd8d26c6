"""What a client names its own user and session by.

Identifiers, kept with the receipt as they are, so that a client finds its generations again; they go
into no log and no metric.
"""

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

import msgspec

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal

CHARACTERS_MAX: Final = 256
SESSION_HEADER: Final = "X-Session-Id"
_NOT_IN_A_NAME: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, halves of a surrogate pair, and what begins another line."""

Identifier: TypeAlias = Annotated[str, msgspec.Meta(max_length=CHARACTERS_MAX)]


def problem_of(**identifiers: str | None) -> Refusal | None:
    """The first of these fields that holds what an identifier must not."""
    for field, value in identifiers.items():
        if value is not None and not _is_clean(value):
            return refusals.invalid("must hold no control characters", field=field)
    return None


def session_of(headers: Mapping[str, str], in_body: str | None) -> str | Refusal | None:
    """The session's id: that of the body, else of the header `X-Session-Id`."""
    given = headers.get(SESSION_HEADER)
    if in_body is not None or given is None:
        return in_body
    if len(given) > CHARACTERS_MAX:
        return refusals.invalid(
            f"expected string of length <= {CHARACTERS_MAX}", field=SESSION_HEADER
        )
    return problem_of(**{SESSION_HEADER: given}) or given


def _is_clean(text: str) -> bool:
    return text.isprintable() or not any(
        unicodedata.category(each) in _NOT_IN_A_NAME for each in text
    )
