"""The label: as much of a provider key as its owner needs to recognise it."""

import re
from typing import Final

_SHOWN_FROM_CHARACTERS: Final = 20
_TAIL_CHARACTERS: Final = 4
_PREFIX: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,5}-")
"""A maker's mark such as `sk-`; a longer first group may be part of the secret itself."""


def label_of(key: str) -> str:
    """`sk-...AbCd`; `...AbCd` for a key without such a prefix, `...` for one shorter than 20."""
    if len(key) < _SHOWN_FROM_CHARACTERS:
        return "..."
    prefix = _PREFIX.match(key)
    return f"{prefix[0] if prefix else ''}...{key[-_TAIL_CHARACTERS:]}"


def label_of_several(keys: list[str]) -> str:
    """The first key's label, with ` (+2)` where two more keys stand behind it."""
    more = len(keys) - 1
    return f"{label_of(keys[0])} (+{more})" if more else label_of(keys[0])
