"""Which models a request may name, and what to suggest when it names another."""

from collections.abc import Collection, Sequence

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal
from shared.events.generations import Operation
from shared.model_slugs import nearest

_SHOWN_MAX = 120


def check_models(
    asked: Sequence[str],
    known: Collection[str],
    embedding: Collection[str] = (),
    *,
    operation: Operation = "chat",
) -> Refusal | None:
    """None when every model is known and does what is asked; else a refusal that says what is wrong.

    `embedding` are those of `known` that make embeddings and nothing else.
    """
    for slug in asked:
        if slug not in known:
            of_its_kind = embedding if operation == "embeddings" else known
            return unknown_model(slug, of_its_kind, field="model")
        if operation == "chat" and slug in embedding:
            return refusals.invalid(f"{slug} makes embeddings and does not chat", field="model")
        if operation == "embeddings" and slug not in embedding:
            return refusals.invalid(f"{slug} chats and makes no embeddings", field="model")
    return None


def unknown_model(slug: str, known: Collection[str], *, field: str) -> Refusal:
    """Say which model is not known, and which are near."""
    shown = slug[:_SHOWN_MAX]
    near = nearest(shown, known)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; GET /api/v1/models lists them"
    return refusals.invalid(f"{shown} is not a known model{hint}", field=field)
