"""The adapters over real sockets, against the simulator or against bytes written by hand."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.embedding import TellUsage, untold
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import Embeddings, StreamPiece, WholeReply
from services.dispatcher.outbound.providers.registry import ROWS, open_providers
from services.dispatcher.ports import Provider, ProviderSecret
from shared.clock import SystemClock
from shared.events.catalog import VertexApi
from shared.events.credential_secrets import AzureResourceType, BedrockApiKeySecret
from tests.contract.providers.builders import (
    attempt,
    azure_resource_secret,
    azure_secret,
    embedding_request,
    request,
    string_secret,
    vertex_secret,
)
from tests.contract.providers.handwritten import Handwritten, running_handwritten
from tests.simulator.app import Simulator, running_simulator
from tests.simulator.call_log import CallLog
from tests.simulator.scripts import WELL_KNOWN
from tests.support.pasted_keys import rsa_public_pem

BEDROCK_PATH = "/bedrock/{region}"
CLAUDE_AT_BEDROCK = "anthropic.claude-haiku-4-5-20251001-v1:0"
CLAUDE = "claude-haiku-4-5-20251001"
AZURE_PATH = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-08-01-preview"


VERTEX_MODELS: dict[VertexApi, str] = {
    "gemini": "gemini-2.5-flash",
    "anthropic": "claude-haiku-4-5@20251001",
    "openai": "openai/gpt-oss-120b-maas",
}

EMBEDDERS = {
    "amazon-bedrock": "amazon.titan-embed-text-v2:0",
    "google-vertex": "gemini-embedding-001",
    "mistral": "mistral-embed",
}
"""Models that embed of providers that do not do well with one of OpenAI's."""

ON_VERTEX: dict[str, int] = {"invalid": 400, "quota": 403}
"""Statuses of its own: of the token endpoint, and of a project without billing."""

_APIS: dict[str, VertexApi] = {"": "gemini", "anthropic": "anthropic", "openai": "openai"}
_RESOURCE_TYPES: dict[str, AzureResourceType] = {"openai": "openai", "ai_foundry": "ai_foundry"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One provider as a test speaks to it; the marker in the key picks what the simulator does."""

    provider: Provider
    slug: str
    url: str
    resource_type: AzureResourceType | None = None
    api: VertexApi | None = None

    @property
    def native(self) -> str:
        """Whose finish reasons and errors are told: `openai`, `anthropic` or `gemini`."""
        if self.api is not None:
            return self.api
        return "anthropic" if self.slug == "anthropic" else "openai"

    def attempt(self, **parts: Any) -> Attempt:
        if self.api is not None:
            model = VERTEX_MODELS[self.api]
            vertex = {"model": f"x/{model}", "provider_model": model, "api": self.api}
            return attempt(self.slug, **(vertex | parts))
        if self.resource_type is not None:
            parts["resource"] = "res"
        if self.slug == "anthropic":
            claude = {"model": "anthropic/claude-haiku-4.5", "provider_model": CLAUDE}
            return attempt(self.slug, **(claude | parts))
        if self.slug == "amazon-bedrock":
            at_bedrock: dict[str, Any] = {
                "model": "anthropic/claude-haiku-4.5",
                "provider_model": CLAUDE_AT_BEDROCK,
                "inference_profiles": ("us", "eu", "global"),
            }
            return attempt(self.slug, **(at_bedrock | parts))
        return attempt(self.slug, **parts)

    def key(self, marker: str = "ok") -> str:
        """What the simulator knows the credential by."""
        if self.slug == "google-vertex":
            return vertex_secret(f"sk-test-{marker}-key").client_email
        if self.slug == "amazon-bedrock":
            return f"ABSKtest0123-{marker}-9876"
        return f"azure-0123-{marker}-9876" if self.slug == "azure" else f"sk-test-{marker}-key"

    def secret(self, marker: str = "ok") -> ProviderSecret:
        if self.slug == "google-vertex":
            return vertex_secret(f"sk-test-{marker}-key")
        if self.resource_type is not None:
            return azure_resource_secret(self.resource_type, f"azure-0123-{marker}-9876")
        if self.slug == "amazon-bedrock":
            return BedrockApiKeySecret(api_key=self.key(marker), region="us-east-1")
        if self.slug == "azure":
            return azure_secret(self.url + AZURE_PATH, self.key(marker))
        return string_secret(self.key(marker))

    async def complete(
        self, marker: str = "ok", text: str = "hello words=3", **fields: Any
    ) -> WholeReply | ProviderFailure:
        return await self.provider.complete(
            self.attempt(), self.secret(marker), request(text, **fields)
        )

    async def embed(
        self,
        *inputs: str | list[int],
        marker: str = "ok",
        model: str = "",
        tell_usage: TellUsage = untold,
        **fields: Any,
    ) -> Embeddings | ProviderFailure:
        """With the provider's own model, or another of its models."""
        model = model or EMBEDDERS.get(self.slug, "text-embedding-3-small")
        maker = "openai" if model.startswith("text-embedding-3") else "maker"
        slug = f"{maker}/{model}"
        secret = self.secret(marker)
        if self.slug == "azure" and self.resource_type is None:
            url = self.url + AZURE_PATH.replace("gpt-4o", model)
            secret = azure_secret(url, self.key(marker), model=slug, model_id=model)
        parts: dict[str, Any] = {"model": slug, "provider_model": model}
        if self.slug == "amazon-bedrock":
            parts["inference_profiles"] = ()
        return await self.provider.embed(
            self.attempt(**parts), secret, embedding_request(*inputs, **fields), tell_usage
        )

    async def stream(
        self, marker: str = "ok", text: str = "hello words=3", **fields: Any
    ) -> list[StreamPiece]:
        asked = request(text, stream=True, **fields)
        pieces = self.provider.stream(self.attempt(), self.secret(marker), asked)
        return [piece async for piece in pieces]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running_simulator(CallLog(SystemClock(), id_prefix="test")) as running:
        for marker in ("ok", *WELL_KNOWN):
            email = vertex_secret(f"sk-test-{marker}-key").client_email
            running.accounts.put(email, rsa_public_pem())
        yield running


@pytest.fixture
async def handwritten() -> AsyncIterator[Handwritten]:
    async with running_handwritten() as running:
        yield running


@pytest.fixture
async def providers(
    simulator: Simulator, handwritten: Handwritten
) -> AsyncIterator[Mapping[str, Provider]]:
    """`deepseek` and its like answer from the handwritten server."""
    async with open_providers(
        endpoints={
            "azure": simulator.url,
            "openai": simulator.url + "/v1",
            "mistral": simulator.url + "/v1",
            "anthropic": simulator.url,
            "google-vertex": simulator.url,
            "google-oauth": simulator.url + "/token",
            "amazon-bedrock": simulator.url + BEDROCK_PATH,
            "deepseek": handwritten.url,
        },
        egress_allow=frozenset({f"127.0.0.1:{simulator.port}", f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield opened


@pytest.fixture(
    params=[
        "openai",
        "mistral",
        "azure",
        "azure:openai",
        "azure:ai_foundry",
        "anthropic",
        "google-vertex",
        "google-vertex:anthropic",
        "google-vertex:openai",
    ]
)
def wire(
    request: pytest.FixtureRequest, simulator: Simulator, providers: Mapping[str, Provider]
) -> Wire:
    return wire_of(str(request.param), providers, simulator)


def wire_of(name: str, providers: Mapping[str, Provider], simulator: Simulator) -> Wire:
    """`azure:<type of resource>`, `google-vertex:<api>`, or a provider's slug."""
    slug, _, rest = name.partition(":")
    return Wire(
        provider=providers[slug],
        slug=slug,
        url=simulator.url,
        resource_type=_RESOURCE_TYPES.get(rest) if slug == "azure" else None,
        api=_APIS[rest] if slug == "google-vertex" else None,
    )


@pytest.fixture
async def every_provider(simulator: Simulator) -> AsyncIterator[Mapping[str, Provider]]:
    """All of the registry, each answered by the simulator."""
    endpoints = {row.slug: simulator.url + "/v1" for row in ROWS}
    async with open_providers(
        endpoints={
            **endpoints,
            "anthropic": simulator.url,
            "google-vertex": simulator.url,
            "google-oauth": simulator.url + "/token",
            "amazon-bedrock": simulator.url + BEDROCK_PATH,
        },
        egress_allow=frozenset({f"127.0.0.1:{simulator.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield opened
