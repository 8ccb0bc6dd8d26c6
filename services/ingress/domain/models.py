"""Which models a request may name, and what to suggest when it names another."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal

_SUGGESTIONS_MAX = 3
_SHOWN_MAX = 120
_CUTOFF = 0.4


def check_models(
    asked: Sequence[str], known: Collection[str], embedding: Collection[str] = ()
) -> Refusal | None:
    """None when every model is known and chats; else a refusal that names the nearest ones.

    `embedding` are those of `known` that make embeddings and nothing else.
    """
    for slug in asked:
        if slug in embedding:
            return refusals.invalid(f"{slug} makes embeddings and does not chat", field="model")
        if slug not in known:
            return unknown_model(slug, known, field="model")
    return None


def unknown_model(slug: str, known: Collection[str], *, field: str) -> Refusal:
    """Say which model is not known, and which are near."""
    shown = slug[:_SHOWN_MAX]
    near = nearest(shown, known)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; GET /api/v1/models lists them"
    return refusals.invalid(f"{shown} is not a known model{hint}", field=field)


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
