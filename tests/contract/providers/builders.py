"""Attempts, requests and secrets that are right by default."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from services.dispatcher.domain.attempt import Attempt, Endpoint
from services.dispatcher.domain.embedding import EmbeddingRequest, read_embedding_request
from services.dispatcher.domain.request import ChatRequest, read_request
from shared.events.catalog import VertexApi
from shared.events.credential_secrets import (
    AzureDeploymentSecret,
    AzureResourceSecret,
    AzureResourceType,
    AzureSecret,
    StringSecret,
    VertexSecret,
)
from shared.events.credentials import CredentialChanged, Filters
from shared.events.generations import Tier
from shared.events.usage import Prices
from shared.ids import AccountId, CredentialId
from tests.support.pasted_keys import rsa_pem

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def credential(provider: str) -> CredentialChanged:
    return CredentialChanged(
        version=1,
        account_id=AccountId("account"),
        credential_id=CredentialId("credential"),
        provider=provider,
        label="...1234",
        enabled=True,
        section="prioritized",
        always_use=False,
        order=0,
        filters=Filters(),
        secret_revision=1,
        ciphertext="vault:v1:x",
        created_at=NOW,
    )


def attempt(
    provider: str = "openai",
    *,
    model: str = "openai/gpt-4o",
    provider_model: str | None = None,
    resource: str | None = None,
    api: VertexApi | None = None,
    regions: tuple[str, ...] = (),
    tier: Tier = "prioritized",
    inference_profiles: tuple[str, ...] = (),
) -> Attempt:
    return Attempt(
        model=model,
        endpoint=Endpoint(
            id=f"{provider}/{model}",
            provider=provider,
            provider_name=provider.title(),
            provider_model=provider_model or model.rpartition("/")[2],
            prices=Prices(prompt=1, completion=1),
            context_length_tokens=128_000,
            output_tokens_max=16_384,
            resource=resource,
            api=api,
            inference_profiles=inference_profiles,
            regions=regions,
        ),
        credential=credential(provider),
        tier=tier,
    )


def request(text: str = "hello words=3", **fields: Any) -> ChatRequest:
    body: dict[str, Any] = {
        "model": "openai/gpt-4o",
        "messages": [{"role": "user", "content": text}],
        **fields,
    }
    read = read_request(msgspec.json.encode(body))
    assert isinstance(read, ChatRequest)
    return read


def embedding_request(*inputs: str | list[int], **fields: Any) -> EmbeddingRequest:
    body: dict[str, Any] = {"model": "openai/text-embedding-3-small", "input": inputs, **fields}
    read = read_embedding_request(msgspec.json.encode(body))
    assert isinstance(read, EmbeddingRequest)
    return read


def string_secret(key: str = "sk-test-key-0001") -> StringSecret:
    return StringSecret(value=key)


def azure_secret(
    url: str,
    key: str = "azure-test-key-0001",
    *,
    model: str = "openai/gpt-4o",
    model_id: str = "gpt-4o",
) -> AzureSecret:
    deployment = AzureDeploymentSecret(
        model_slug=model, endpoint_url=url, api_key=key, model_id=model_id
    )
    return AzureSecret(deployments=[deployment])


def azure_resource_secret(
    resource_type: AzureResourceType = "openai",
    key: str = "azure-test-key-0001",
    *,
    name: str = "res",
) -> AzureSecret:
    resource = AzureResourceSecret(resource_name=name, resource_type=resource_type, api_key=key)
    return AzureSecret(deployments=[], resources=[resource])


def vertex_secret(
    name: str = "sk-test-ok-key", *, region: str = "us-central1", private_key: str | None = None
) -> VertexSecret:
    return VertexSecret(
        project_id="my-project-123",
        private_key_id="0123456789abcdef0123456789abcdef0123ab12",
        private_key=rsa_pem() if private_key is None else private_key,
        client_email=f"{name}@my-project-123.iam.gserviceaccount.com",
        region=region,
    )
