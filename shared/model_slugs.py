"""Model slugs, `author/name`: which of those there are somebody may have meant."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

_SUGGESTIONS_MAX: Final = 3
_CUTOFF: Final = 0.4


def nearest(slug: str, known: Collection[str]) -> list[str]:
    """Up to three slugs that look like `slug`; a missing or wrong author is forgiven."""
    wanted = slug.lower()
    by_name = {each.rpartition("/")[2]: each for each in sorted(known, reverse=True)}
    near = [
        *get_close_matches(wanted, known, _SUGGESTIONS_MAX, _CUTOFF),
        *(by_name[name] for name in get_close_matches(wanted.rpartition("/")[2], by_name)),
    ]
    exact_name = by_name.get(wanted.rpartition("/")[2])
    first = [exact_name] if exact_name is not None else []
    return list(dict.fromkeys([*first, *near]))[:_SUGGESTIONS_MAX]
