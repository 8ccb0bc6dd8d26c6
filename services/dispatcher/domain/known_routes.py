"""Routes that were found once: the same caller asks for the same model again and again.

What they were found from is kept beside them and compared by identity, so a model or a credential
that changed is noticed at the next request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.dispatcher.domain.candidates import Access
from services.dispatcher.domain.plan import Route, routes
from services.dispatcher.domain.request import ProviderPreferences, Request
from shared.events.catalog import ModelListed
from shared.ids import ApiKeyHash, MemberId

ROUTES_REMEMBERED_MAX: Final = 2_000
"""Callers and models; the oldest goes first."""

_Key = tuple[str, ApiKeyHash, MemberId | None, bool, ProviderPreferences]


@dataclass(frozen=True, slots=True)
class _Known:
    model: ModelListed
    access: Access
    routes: Sequence[Route]

    def is_of(self, model: ModelListed, access: Access) -> bool:
        known = self.access
        return (
            self.model is model
            and known.own is access.own
            and known.platform is access.platform
            and known.providers is access.providers
        )


class KnownRoutes:
    """Stands in for `routes`, with the same answers."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: dict[_Key, _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, model: ModelListed, request: Request, access: Access) -> Sequence[Route]:
        """As `routes`; credentials in a sequence must not change while it is the same object."""
        caller, preferences = access.caller, request.preferences
        key = (model.slug, caller.api_key_hash, caller.member_id, access.byok_only, preferences)
        known = self._known.get(key)
        if known is not None and known.is_of(model, access):
            return known.routes
        found = routes(model, request, access)
        if preferences.require_parameters:  # these depend on the request's other fields too
            return found
        self._known.pop(key, None)
        if len(self._known) >= ROUTES_REMEMBERED_MAX:
            del self._known[next(iter(self._known))]
        self._known[key] = _Known(model, access, found)
        return found
