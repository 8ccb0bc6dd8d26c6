"""Which credential serves which endpoint of a model, before any wish of the request is looked at."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from services.dispatcher.domain.attempt import Attempt, Endpoint
from services.dispatcher.domain.request import ProviderPreferences
from shared.events.catalog import CatalogEndpoint, ModelListed
from shared.events.credentials import CredentialChanged
from shared.events.generations import Tier
from shared.ids import ApiKeyHash, MemberId


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, as far as filters of credentials look at it."""

    api_key_hash: ApiKeyHash
    member_id: MemberId | None


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may draw on.

    `own` are its account's credentials, `platform` those of shared capacity, `providers` the slugs
    that there are adapters for.
    """

    caller: Caller
    own: Sequence[CredentialChanged]
    platform: Sequence[CredentialChanged]
    byok_only: bool
    providers: frozenset[str]


class Candidate(msgspec.Struct, frozen=True):
    """An attempt that could be made, and the place of its endpoint in the catalog's order."""

    attempt: Attempt
    catalog_order: int


class NotAdmitted(StrEnum):
    """Why a credential takes no part in a request: it is disabled, or the filter does not match."""

    DISABLED = "disabled"
    MODEL = "model"
    API_KEY = "api_key_hash"
    MEMBER = "member"


def why_not_admitted(
    credential: CredentialChanged, model: str, caller: Caller
) -> NotAdmitted | None:
    """None when the credential is enabled and all its filters match."""
    if not credential.enabled:
        return NotAdmitted.DISABLED
    filters = credential.filters
    if filters.models is not None and model not in filters.models:
        return NotAdmitted.MODEL
    if filters.api_key_hashes is not None and caller.api_key_hash not in filters.api_key_hashes:
        return NotAdmitted.API_KEY
    if filters.member_ids is not None and caller.member_id not in filters.member_ids:
        return NotAdmitted.MEMBER
    return None


def own_candidates(model: ModelListed, credential: CredentialChanged) -> Iterator[Candidate]:
    """What an account's credential can serve of a model."""
    yield from _candidates(model, credential, credential.section)


def shared_candidates(model: ModelListed, credential: CredentialChanged) -> Iterator[Candidate]:
    """What a platform credential can serve of a model: only where the catalog offers it."""
    if any(each.provider == credential.provider and not each.byok_only for each in model.endpoints):
        yield from _candidates(model, credential, "shared")


def _candidates(
    model: ModelListed, credential: CredentialChanged, tier: Tier
) -> Iterator[Candidate]:
    if credential.deployments is None:
        for order, listed in _listed_at(credential.provider, model, tier):
            yield _candidate(model, listed, order, credential, tier)
        return
    ids = [each.model_id for each in credential.deployments if each.model_slug == model.slug]
    if ids and model.endpoints:
        priced, place = _catalog_endpoint_for_deployments(model.endpoints, credential.provider)
        for model_id in dict.fromkeys(ids):
            yield _candidate(model, priced, place, credential, tier, model_id=model_id)
        return
    for order, listed in _listed_at(credential.provider, model, tier):
        for resource in credential.resources:
            name = resource.resource_name
            yield _candidate(model, listed, order, credential, tier, resource=name)


def _listed_at(
    provider: str, model: ModelListed, tier: Tier
) -> Iterator[tuple[int, CatalogEndpoint]]:
    """The model's endpoints at a provider with their places in the catalog."""
    for order, listed in enumerate(model.endpoints):
        if listed.provider == provider and not (tier == "shared" and listed.byok_only):
            yield order, listed


def _catalog_endpoint_for_deployments(
    endpoints: Sequence[CatalogEndpoint], provider: str
) -> tuple[CatalogEndpoint, int]:
    """Where a deployment's price and limits come from: the provider's own, else the model's first."""
    for order, listed in enumerate(endpoints):
        if listed.provider == provider:
            return listed, order
    return endpoints[0], len(endpoints)


def _candidate(
    model: ModelListed,
    listed: CatalogEndpoint,
    order: int,
    credential: CredentialChanged,
    tier: Tier,
    *,
    model_id: str | None = None,
    resource: str | None = None,
) -> Candidate:
    provider_model = listed.model if model_id is None else model_id
    known = listed.provider == credential.provider
    place = provider_model if resource is None else f"{resource}/{provider_model}"
    endpoint = Endpoint(
        id=f"{credential.provider}/{place}",
        provider=credential.provider,
        provider_name=listed.provider_name if known else credential.provider.title(),
        provider_model=provider_model,
        prices=listed.prices,
        context_length_tokens=listed.context_length_tokens,
        output_tokens_max=listed.output_tokens_max,
        resource=resource,
        api=listed.api,
        inference_profiles=tuple(listed.inference_profiles) if known else (),
        regions=tuple(listed.regions) if known else (),
    )
    return Candidate(
        Attempt(model=model.slug, endpoint=endpoint, credential=credential, tier=tier), order
    )


def matches_provider(endpoint: Endpoint, wanted: str) -> bool:
    """Whether a slug in a request's preferences means this endpoint: provider, its name, or the id."""
    return (
        wanted == endpoint.provider
        or wanted == endpoint.provider_name.lower().replace(" ", "-")
        or wanted == endpoint.id.lower()
    )


def place_in_order(endpoint: Endpoint, preferences: ProviderPreferences) -> int | None:
    """The place that `provider.order` gives the endpoint, None when it is not named there."""
    if preferences.order is None:
        return None
    for place, wanted in enumerate(preferences.order):
        if matches_provider(endpoint, wanted):
            return place
    return None


def is_wanted(endpoint: Endpoint, preferences: ProviderPreferences) -> bool:
    """Whether `only`, `ignore` and `order` without fallbacks leave the endpoint in."""
    if preferences.only is not None and not any(
        matches_provider(endpoint, wanted) for wanted in preferences.only
    ):
        return False
    if any(matches_provider(endpoint, ignored) for ignored in preferences.ignore or ()):
        return False
    return not (
        preferences.allow_fallbacks is False
        and preferences.order
        and place_in_order(endpoint, preferences) is None
    )
