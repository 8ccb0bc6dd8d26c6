"""Takes a call's own secrets out of what a provider says, also where it repeats but a piece of one."""

from typing import Final
from urllib.parse import quote

from shared.telemetry.redact import MASK

WHOLE_CHARACTERS_MIN: Final = 6
"""Shorter than this, a credential is part of ordinary words; masking it would say where it stands."""
PIECE_CHARACTERS_MIN: Final = 12
"""A piece this long of a secret is no accident; a shorter one is of no use to anybody."""


def mask_whole(text: str, secrets: tuple[str, ...]) -> str:
    """The text without the secrets, as they are or as they stand in an address."""
    for secret in secrets:
        if len(secret) >= WHOLE_CHARACTERS_MIN:
            text = text.replace(secret, MASK).replace(quote(secret, safe=""), MASK)
    return text


def mask_pieces(text: str, secrets: tuple[str, ...]) -> str:
    """The text without any piece of the secrets. For short texts: it looks at every place."""
    width = PIECE_CHARACTERS_MIN
    pieces = {
        secret[start : start + width]
        for secret in secrets
        for start in range(len(secret) - width + 1)
    }
    if not pieces:
        return text
    kept: list[str] = []
    shown_to = masked_to = 0
    for start in range(len(text) - width + 1):
        if text[start : start + width] not in pieces:
            continue
        if start > masked_to or not masked_to:
            kept += (text[shown_to:start], MASK)
        shown_to = masked_to = start + width
    return "".join((*kept, text[shown_to:]))
