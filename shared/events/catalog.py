"""The catalog of models as it stands on its topic."""

import msgspec

from shared.events.envelope import StateEvent
from shared.events.usage import Prices


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes and gives, in OpenRouter's words."""

    input_modalities: list[str]
    output_modalities: list[str]
    tokenizer: str
    supported_parameters: list[str]


class CatalogEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider. `model` is the provider's own name of it.

    `byok_only` says that there is no shared capacity behind it: it serves accounts' own keys.
    """

    provider: str
    provider_name: str
    model: str
    prices: Prices
    context_length_tokens: int
    output_tokens_max: int
    byok_only: bool = False


class ModelListed(StateEvent, frozen=True, kw_only=True):
    """A model and its endpoints in order of preference."""

    slug: str
    name: str
    created: int
    description: str
    context_length_tokens: int
    output_tokens_max: int
    capabilities: Capabilities
    endpoints: list[CatalogEndpoint]
