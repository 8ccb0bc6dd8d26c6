"""Every provider that the dispatcher can call.

To add one that speaks OpenAI's chat completions, add a row to `ROWS`: its slug, its display name, the
base URL (its path is `<base URL>/chat/completions`), and its quirks; where it differs from its like,
add a constant to `quirks.py`. Where it offers embeddings at `<base URL>/embeddings`, `embeddings` says what
it takes of them. Unless `<base URL>/models` proves a key, `check_path` says what does.
Nothing else has to change: the test of the registry calls each row. A provider that speaks something
else gets a module of its own beside `azure.py`, or a folder as `anthropic/`, which reads requests
through `domain/read_conversation.py`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from services.dispatcher.outbound.bedrock_clients import open_bedrock_clients
from services.dispatcher.outbound.egress import open_egress
from services.dispatcher.outbound.providers import openai_embeddings, quirks
from services.dispatcher.outbound.providers.anthropic import adapter as anthropic
from services.dispatcher.outbound.providers.azure import Azure
from services.dispatcher.outbound.providers.bedrock.adapter import Bedrock
from services.dispatcher.outbound.providers.completions_client import CompletionsClient
from services.dispatcher.outbound.providers.openai_compatible import OpenAICompatible, ProviderRow
from services.dispatcher.outbound.providers.vertex.adapter import Vertex
from services.dispatcher.outbound.providers.vertex.tokens import TOKEN_URL, open_access_tokens
from services.dispatcher.ports import Provider
from shared.clock import Clock
from shared.events.credential_secrets import AMAZON_BEDROCK, AZURE, GOOGLE_VERTEX

ROWS: Final = (
    ProviderRow(
        slug="openai",
        name="OpenAI",
        base_url="https://api.openai.com/v1",
        quirks=quirks.OPENAI,
        embeddings=openai_embeddings.OPENAI,
    ),
    ProviderRow(
        slug="mistral",
        name="Mistral",
        base_url="https://api.mistral.ai/v1",
        quirks=quirks.MISTRAL,
        embeddings=openai_embeddings.MISTRAL,
    ),
    ProviderRow(
        slug="deepseek",
        name="DeepSeek",
        base_url="https://api.deepseek.com/v1",
        quirks=quirks.DEEPSEEK,
    ),
    ProviderRow(
        slug="groq",
        name="Groq",
        base_url="https://api.groq.com/openai/v1",
        quirks=quirks.GROQ,
    ),
    ProviderRow(
        slug="together",
        name="Together",
        base_url="https://api.together.xyz/v1",
        quirks=quirks.TOGETHER,
        embeddings=openai_embeddings.TOGETHER,
    ),
    ProviderRow(
        slug="fireworks",
        name="Fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        quirks=quirks.FIREWORKS,
        embeddings=openai_embeddings.FIREWORKS,
    ),
    ProviderRow(
        slug="xai",
        name="xAI",
        base_url="https://api.x.ai/v1",
        quirks=quirks.XAI,
    ),
    ProviderRow(
        slug="google-ai-studio",
        name="Google AI Studio",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        quirks=quirks.GOOGLE_AI_STUDIO,
        embeddings=openai_embeddings.GOOGLE_AI_STUDIO,
    ),
    ProviderRow(
        slug="cohere",
        name="Cohere",
        base_url="https://api.cohere.ai/compatibility/v1",
        quirks=quirks.COHERE,
        embeddings=openai_embeddings.COHERE,
    ),
    ProviderRow(
        slug="openrouter",
        name="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        quirks=quirks.OPENROUTER,
        embeddings=openai_embeddings.OPENROUTER,
        check_path="/key",  # its list of models is public
    ),
)


SLUGS: Final = frozenset(
    {AZURE, AMAZON_BEDROCK, anthropic.SLUG, GOOGLE_VERTEX, *(row.slug for row in ROWS)}
)
"""All providers that there are adapters for."""
GOOGLE_OAUTH: Final = "google-oauth"
"""No provider, but an address of PROVIDER_ENDPOINTS: where Vertex's access tokens come from."""
ENDPOINT_NAMES: Final = SLUGS | {GOOGLE_OAUTH}
"""What PROVIDER_ENDPOINTS may name."""


@asynccontextmanager
async def open_providers(
    *, endpoints: Mapping[str, str], egress_allow: frozenset[str], clock: Clock
) -> AsyncIterator[Mapping[str, Provider]]:
    """Every provider by its slug, sharing one pool of connections that closes on leaving.

    `endpoints` (PROVIDER_ENDPOINTS) puts other base URLs in place of the rows' own, and of the hosts
    that Azure's resources, Bedrock's and Vertex's regions are called at; `egress_allow`
    (EGRESS_ALLOW) are the `host:port` that may be http and any address. Raises ValueError for a base
    URL of no provider here, or one that egress would refuse.
    """
    unknown = endpoints.keys() - ENDPOINT_NAMES
    if unknown:
        raise ValueError(
            f"PROVIDER_ENDPOINTS names no provider of ours: {', '.join(sorted(unknown))}"
        )
    async with AsyncExitStack() as opened:
        egress = await opened.enter_async_context(open_egress(allow=egress_allow))
        bedrock = await opened.enter_async_context(
            open_bedrock_clients(egress, endpoint_url=endpoints.get(AMAZON_BEDROCK))
        )
        client = CompletionsClient(egress, clock)
        for slug, base_url in endpoints.items():
            # Bedrock's may have the region in its host, and was looked at above
            refusal = None if slug == AMAZON_BEDROCK else egress.refusal(base_url)
            if refusal is not None:
                raise ValueError(f"the base URL of {slug} cannot be called: {refusal}")
        claude_url = endpoints.get(anthropic.SLUG, anthropic.BASE_URL)
        providers: dict[str, Provider] = {
            AZURE: Azure(client, resources_url=endpoints.get(AZURE)),
            AMAZON_BEDROCK: Bedrock(bedrock, clock),
            anthropic.SLUG: anthropic.Anthropic(claude_url, client),
        }
        token_url = endpoints.get(GOOGLE_OAUTH, TOKEN_URL)
        tokens = await opened.enter_async_context(
            open_access_tokens(client, token_url=token_url, clock=clock)
        )
        providers[GOOGLE_VERTEX] = Vertex(client, tokens, base_url=endpoints.get(GOOGLE_VERTEX))
        for row in ROWS:
            base_url = endpoints.get(row.slug, row.base_url)
            providers[row.slug] = OpenAICompatible(replace(row, base_url=base_url), client)
        yield MappingProxyType(providers)
