"""What texts are made of: the checks that several fields share."""

import re
import unicodedata
from typing import Final

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROVIDER: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_UNSHOWABLE_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION_MARKS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_id(text: str) -> bool:
    """An id that can stand in a record's key: letters, digits, `-` and `_`, at most 64."""
    return _ID.fullmatch(text) is not None


def is_provider_slug(text: str) -> bool:
    """Lower-case letters, digits and inner dashes, at most 64."""
    return _PROVIDER.fullmatch(text) is not None


def is_visible_ascii(text: str) -> bool:
    """Printable ASCII without a space."""
    return all("!" <= character <= "~" for character in text)


def is_showable(text: str) -> bool:
    """Free text that can be shown on one line: no control, no surrogate, no change of direction."""
    return not any(
        character in _DIRECTION_MARKS or unicodedata.category(character) in _UNSHOWABLE_CATEGORIES
        for character in text
    )
