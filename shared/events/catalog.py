"""The catalog of models as it stands on its topic."""

from typing import Final, Literal

import msgspec

from shared.events.envelope import StateEvent
from shared.events.usage import Prices

EMBEDDINGS: Final = "embeddings"
"""The output modality of a model that embeds."""

VertexApi = Literal["gemini", "anthropic", "openai"]
"""Which of Vertex AI's wires speaks to a model: generateContent, rawPredict, or chat completions."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes and gives, in OpenRouter's words."""

    input_modalities: list[str]
    output_modalities: list[str]
    tokenizer: str
    supported_parameters: list[str]

    @property
    def embeds(self) -> bool:
        """Whether the model turns text into vectors, and does not chat."""
        return EMBEDDINGS in self.output_modalities


class CatalogEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider. `model` is the provider's own name of it.

    `byok_only` says that there is no shared capacity behind it: it serves accounts' own keys.

    `api` is for Google Vertex alone. `inference_profiles` are the prefixes of Amazon Bedrock's
    profiles (`us`, `eu`, `global`, ...) that the model has; empty where it is called by `model`
    itself. `regions` are the only ones of the provider that serve the model; empty means all.
    """

    provider: str
    provider_name: str
    model: str
    prices: Prices
    context_length_tokens: int
    output_tokens_max: int
    byok_only: bool = False
    api: VertexApi | None = None
    inference_profiles: list[str] = []
    regions: list[str] = []


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
