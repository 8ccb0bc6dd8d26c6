"""Reading the endpoints of a model: where it is served, at what price, within what limits."""

import re
from typing import Final, get_args

from deploy.catalog.fields import Fields
from shared.events.catalog import CatalogEndpoint, VertexApi
from shared.events.usage import LongPromptPrices, Prices

_PROVIDER = re.compile(r"[a-z0-9][a-z0-9-]*(/[a-z0-9-]+)?")
_REGION = re.compile(r"[a-z][a-z0-9-]*")
_VERTEX: Final = "google-vertex"
_BEDROCK: Final = "amazon-bedrock"
_PROFILES: Final = ("us", "eu", "apac", "jp", "au", "ca", "global")
"""Prefixes of Bedrock's system-defined inference profiles."""


def read_endpoints(fields: Fields, *, embeds: bool) -> list[CatalogEndpoint]:
    """The endpoints in order of preference; `embeds` is whether the model makes embeddings."""
    endpoints: list[CatalogEndpoint] = []
    for part in fields.parts("endpoints"):
        endpoint = _endpoint(part, embeds=embeds)
        if any((e.provider, e.model) == (endpoint.provider, endpoint.model) for e in endpoints):
            part.note("model", f"{endpoint.model!r} at {endpoint.provider!r} is listed twice")
        endpoints.append(endpoint)
    return endpoints


def read_output_tokens_max(fields: Fields, *, embeds: bool) -> int:
    """The longest answer: 0 for a model that embeds, and never above the context."""
    tokens = fields.no_tokens("output_tokens_max") if embeds else fields.tokens("output_tokens_max")
    if tokens > fields.tokens_or_most("context_length_tokens"):
        fields.note("output_tokens_max", "must not be above context_length_tokens")
    return tokens


def _endpoint(fields: Fields, *, embeds: bool) -> CatalogEndpoint:
    provider = fields.text("provider", pattern=_PROVIDER, example="google-vertex")
    endpoint = CatalogEndpoint(
        provider=provider,
        provider_name=fields.text("provider_name"),
        model=fields.text("model"),
        prices=_prices(fields.part("prices"), embeds=embeds),
        context_length_tokens=fields.tokens("context_length_tokens"),
        output_tokens_max=read_output_tokens_max(fields, embeds=embeds),
        byok_only=fields.boolean("byok_only"),
        api=_api(fields, is_vertex=provider.partition("/")[0] == _VERTEX),
        inference_profiles=fields.optional_texts("inference_profiles", among=_PROFILES),
        regions=fields.optional_texts("regions", pattern=_REGION, example="us-central1"),
    )
    if endpoint.inference_profiles and provider.partition("/")[0] != _BEDROCK:
        fields.note("inference_profiles", f"belongs to {_BEDROCK} alone")
    fields.finish()
    return endpoint


def _api(fields: Fields, *, is_vertex: bool) -> VertexApi | None:
    given = fields.optional_text("api", among=get_args(VertexApi))
    if is_vertex and not fields.has("api"):
        fields.note("api", f"is missing, which {_VERTEX} needs")
    if not is_vertex and fields.has("api"):
        fields.note("api", f"belongs to {_VERTEX} alone")
    known: tuple[VertexApi, ...] = get_args(VertexApi)
    return next((api for api in known if api == given), None)


def _prices(fields: Fields, *, embeds: bool) -> Prices:
    prices = Prices(
        prompt=fields.price("prompt"),
        completion=fields.price("completion"),
        input_cache_read=fields.optional_price("input_cache_read"),
        input_cache_write=fields.optional_price("input_cache_write"),
        request=fields.optional_price("request") or 0,
        long_prompt=_long_prompt(fields),
    )
    if embeds and prices.completion:
        fields.note("completion", 'must be "0" where a model embeds')
    fields.finish()
    return prices


def _long_prompt(fields: Fields) -> LongPromptPrices | None:
    part = fields.optional_part("long_prompt")
    if part is None:
        return None
    for name in ("prompt", "completion", "input_cache_read", "input_cache_write"):
        _check_not_cheaper(part, fields, name)
    tier = LongPromptPrices(
        above_tokens=part.tokens("above_tokens"),
        prompt=part.price("prompt"),
        completion=part.price("completion"),
        input_cache_read=part.optional_price("input_cache_read"),
        input_cache_write=part.optional_price("input_cache_write"),
    )
    part.finish()
    return tier


def _check_not_cheaper(part: Fields, base: Fields, name: str) -> None:
    """Both or neither have the price, and the longer prompt's is no lower: holds rely on it."""
    long, short = part.price_or_none(name), base.price_or_none(name)
    if (long is None) != (short is None):
        part.note(name, "must be there exactly where prices have it")
    elif long is not None and short is not None and long < short:
        part.note(name, "must not be below the price of shorter prompts")
