"""The plan with its reasons: what would be tried, and why everything else would not.

The plan itself is `plan()`'s, the one that requests are carried out by. What it never looked at is
found afterwards, as the rest: credentials and endpoints that are neither tried nor left out by it.
So an explanation costs the request path nothing, and the two cannot disagree.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.candidates import Access, NotAdmitted, why_not_admitted
from services.dispatcher.domain.plan import Blocking, Plan, plan
from services.dispatcher.domain.request import Request
from shared.events.catalog import ModelListed
from shared.events.credentials import CredentialChanged


class NoEndpoint(StrEnum):
    """Why there is nothing at all to try."""

    FOR_THE_MODEL = "no_endpoint"
    """The credential's provider, or its deployments, do not have the model."""


@dataclass(frozen=True, slots=True)
class Unused:
    """An own credential that serves no endpoint of a model."""

    model: str
    credential: CredentialChanged
    why: NotAdmitted | NoEndpoint


@dataclass(frozen=True, slots=True)
class NotShared:
    """A provider that has a model, and no shared capacity for it."""

    model: str
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A plan, and what took no part in it."""

    plan: Plan
    unused: tuple[Unused, ...]
    not_shared: tuple[NotShared, ...]


def explain(
    request: Request,
    access: Access,
    *,
    model_of: Callable[[str], ModelListed | None],
    blocking: Blocking,
) -> Explanation:
    """Explain the plan of a request."""
    access = msgspec.structs.replace(access, own=sorted(access.own, key=_place))
    planned = plan(request, access, model_of=model_of, blocking=blocking)
    models = [model for slug in request.models if (model := model_of(slug)) is not None]
    looked_at = [*planned.attempts, *(each.attempt for each in planned.left_out)]
    return Explanation(
        plan=planned,
        unused=tuple(_unused(models, access, looked_at)),
        not_shared=tuple(_not_shared(models, looked_at)),
    )


def _unused(
    models: Sequence[ModelListed], access: Access, looked_at: Sequence[Attempt]
) -> Iterator[Unused]:
    used = {(each.model, each.credential.credential_id) for each in looked_at if each.is_byok}
    for model in models:
        for credential in access.own:
            if (model.slug, credential.credential_id) not in used:
                why = why_not_admitted(credential, model.slug, access.caller)
                yield Unused(model.slug, credential, why or NoEndpoint.FOR_THE_MODEL)


def _not_shared(models: Sequence[ModelListed], looked_at: Sequence[Attempt]) -> Iterator[NotShared]:
    shared = {(each.model, each.endpoint.provider) for each in looked_at if not each.is_byok}
    for model in models:
        for provider in dict.fromkeys(listed.provider for listed in model.endpoints):
            if (model.slug, provider) not in shared:
                yield NotShared(model.slug, provider)


def _place(credential: CredentialChanged) -> tuple[bool, int, datetime, str]:
    """As an account sees its credentials: prioritized first, then by order and age."""
    return (
        credential.section == "fallback",
        credential.order,
        credential.created_at,
        credential.credential_id,
    )
