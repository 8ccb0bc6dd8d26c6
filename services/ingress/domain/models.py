"""Which models a request may name, and what to suggest when it names another."""

from collections.abc import Collection, Sequence

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal
from shared.model_slugs import nearest

_SHOWN_MAX = 120


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
