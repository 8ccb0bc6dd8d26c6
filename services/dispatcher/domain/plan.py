"""The plan: which attempts a request may make, in order (design.md section 7).

Models in the client's order; per model own prioritized credentials, then shared capacity, then own
fallback credentials; within a tier by endpoint preference (`provider.order`, then the catalog), then
by the credentials' order and age.

`always_use` on any credential that matches, whatever its health and whatever provider the request
prefers, takes every shared attempt for that model out, at any provider; `byok_only` takes all out.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.candidates import (
    Access,
    Candidate,
    is_wanted,
    own_candidates,
    place_in_order,
    shared_candidates,
    why_not_admitted,
)
from services.dispatcher.domain.health import Health
from services.dispatcher.domain.request import Request
from shared.events.catalog import ModelListed
from shared.events.credentials import CredentialChanged

ATTEMPTS_MAX: Final = 16
"""The longest plan; what comes after is not tried."""
_TIERS: Final = {"prioritized": 0, "shared": 1, "fallback": 2}
_UNNAMED: Final = 1_000_000
_OF_ENDPOINTS: Final = frozenset({"n"})
"""What hangs on the provider and not on the model, so that its adapter says whether it is taken."""

Blocking = Callable[[Attempt], Health | None]
"""Why an attempt must not be made now, from the health table."""


class WhyLeftOut(StrEnum):
    """Why an attempt that exists is not in the plan."""

    BYOK_ONLY = "byok_only"
    ALWAYS_USE = "always_use"
    NOT_WANTED = "provider_preferences"
    PARAMETERS = "require_parameters"
    NO_FALLBACKS = "allow_fallbacks"
    NO_ADAPTER = "no_adapter"
    UNHEALTHY = "unhealthy"
    TOO_MANY = "attempts_max"


class LeftOut(msgspec.Struct, frozen=True):
    """An attempt that is not in the plan.

    `health` is there when that is why; `forbidden_by` are the credentials whose `always_use` is.
    """

    attempt: Attempt
    why: WhyLeftOut
    health: Health | None = None
    forbidden_by: tuple[CredentialChanged, ...] = ()


Route: TypeAlias = Attempt | LeftOut
"""What there is for a model before its health is looked at."""
Routes = Callable[[ModelListed, Request, Access], Sequence[Route]]
"""`routes`, or what remembers its answers."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What may be tried. `unknown_models` are slugs that the catalog does not have."""

    attempts: tuple[Attempt, ...]
    left_out: tuple[LeftOut, ...]
    unknown_models: tuple[str, ...]


def plan(
    request: Request,
    access: Access,
    *,
    model_of: Callable[[str], ModelListed | None],
    blocking: Blocking,
    routes_of: Routes | None = None,
) -> Plan:
    """Plan a request. `routes_of` may stand in for `routes` where it remembers."""
    find = routes if routes_of is None else routes_of
    attempts: list[Attempt] = []
    left_out: list[LeftOut] = []
    unknown: list[str] = []
    for slug in request.models:
        model = model_of(slug)
        if model is None:
            unknown.append(slug)
            continue
        for route in find(model, request, access):
            if isinstance(route, LeftOut):
                left_out.append(route)
                continue
            health = blocking(route)
            if health is not None:
                left_out.append(LeftOut(route, WhyLeftOut.UNHEALTHY, health))
                continue
            attempts.append(route)
    if len(attempts) > ATTEMPTS_MAX:
        left_out += [LeftOut(each, WhyLeftOut.TOO_MANY) for each in attempts[ATTEMPTS_MAX:]]
        del attempts[ATTEMPTS_MAX:]
    return Plan(
        attempts=tuple(attempts),
        left_out=tuple(left_out),
        unknown_models=tuple(unknown),
    )


def routes(model: ModelListed, request: Request, access: Access) -> tuple[Route, ...]:
    """Everything that could be tried for a model, in order."""
    candidates, insisting = _candidates(model, access)
    shared_refusal = _shared_refusal(insisting, byok_only=access.byok_only)
    candidates.sort(key=lambda each: _place(each, request))
    first_only = request.preferences.allow_fallbacks is False and not request.preferences.order
    found: list[Route] = []
    taken = False
    for candidate in candidates:
        why = _refusal(candidate.attempt, model, request, access.providers, shared_refusal)
        if why is None and first_only and taken:
            why = WhyLeftOut.NO_FALLBACKS
        if why is None:
            taken = True
            found.append(candidate.attempt)
            continue
        forbidden_by = insisting if why is WhyLeftOut.ALWAYS_USE else ()
        found.append(LeftOut(candidate.attempt, why, forbidden_by=forbidden_by))
    return tuple(found)


def _candidates(
    model: ModelListed, access: Access
) -> tuple[list[Candidate], tuple[CredentialChanged, ...]]:
    """All that could be tried, and whose `always_use` forbids shared capacity."""
    found: list[Candidate] = []
    insisting: tuple[CredentialChanged, ...] = ()
    for credential in access.own:
        if why_not_admitted(credential, model.slug, access.caller) is None:
            before = len(found)
            found.extend(own_candidates(model, credential))
            if credential.always_use and len(found) > before:
                insisting += (credential,)
    for credential in access.platform:
        if why_not_admitted(credential, model.slug, access.caller) is None:
            found.extend(shared_candidates(model, credential))
    return found, insisting


def _shared_refusal(
    insisting: tuple[CredentialChanged, ...], *, byok_only: bool
) -> WhyLeftOut | None:
    """Why no shared attempt for a model may be made, at any provider."""
    if byok_only:
        return WhyLeftOut.BYOK_ONLY
    return WhyLeftOut.ALWAYS_USE if insisting else None


def _refusal(
    attempt: Attempt,
    model: ModelListed,
    request: Request,
    adapters: frozenset[str],
    shared_refusal: WhyLeftOut | None,
) -> WhyLeftOut | None:
    if shared_refusal is not None and not attempt.is_byok:
        return shared_refusal
    if not is_wanted(attempt.endpoint, request.preferences):
        return WhyLeftOut.NOT_WANTED
    if request.preferences.require_parameters and not _supports(model, request):
        return WhyLeftOut.PARAMETERS
    if attempt.endpoint.provider not in adapters:
        return WhyLeftOut.NO_ADAPTER
    return None


def _supports(model: ModelListed, request: Request) -> bool:
    wanted = request.parameters - _OF_ENDPOINTS
    return wanted.issubset(model.capabilities.supported_parameters)


def _place(candidate: Candidate, request: Request) -> tuple[int, int, int, int, int, datetime, str]:
    attempt = candidate.attempt
    credential = attempt.credential
    named = place_in_order(attempt.endpoint, request.preferences)
    return (
        _TIERS[attempt.tier],
        _UNNAMED if named is None else named,
        candidate.catalog_order,
        _TIERS[credential.section],
        credential.order,
        credential.created_at,
        credential.credential_id,
    )
