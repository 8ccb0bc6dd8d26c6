"""Models that a pasted secret names, held against the catalog."""

from collections.abc import Collection, Iterable
from typing import Final

from services.key_vault.domain.formats.parsed_secret import NamedModel
from services.key_vault.domain.refusals import invalid
from shared.events.envelope import Refused
from shared.model_slugs import nearest

_LISTED: Final = "GET /api/v1/models lists them"


def unknown_model(named: Iterable[NamedModel], known: Collection[str]) -> Refused | None:
    """A refusal of the first model that the catalog has not, with the nearest that it has."""
    for each in named:
        if each.slug not in known:
            near = nearest(each.slug, known)
            hint = f"did you mean {' or '.join(near)}?" if near else f"{_LISTED}."
            return invalid(each.field, f"model_slug is not a known model; {hint}")
    return None
