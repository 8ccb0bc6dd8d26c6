"""What a credential's ciphertext holds: key_vault writes it, only the dispatcher reads it.

These documents exist encrypted with the Transit key `credentials` and nowhere else, so they are no
events and stand on no topic by themselves. They do not print. Whoever reads one trusts that
key_vault has checked it.
"""

from typing import Any, Final, Literal, TypeAlias

import msgspec
from typing_extensions import override

AZURE: Final = "azure"
AMAZON_BEDROCK: Final = "amazon-bedrock"
GOOGLE_VERTEX: Final = "google-vertex"
PROVIDERS_WITH_A_FORMAT: Final = frozenset({AZURE, AMAZON_BEDROCK, GOOGLE_VERTEX})
"""Providers whose keys are more than one string; a key of any other is a `StringSecret`."""

AzureResourceType: TypeAlias = Literal["openai", "ai_foundry"]
"""Which of its hosts an Azure resource is called at: `<name>.openai.azure.com`, or Foundry's
`<name>.services.ai.azure.com`."""

_HIDDEN = "(***)"


class _Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """A struct whose fields no representation shows."""

    @override
    def __repr__(self) -> str:
        return type(self).__name__ + _HIDDEN

    @override
    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class StringSecret(_Hidden, frozen=True, kw_only=True, tag_field="kind", tag="string"):
    """A provider key that is one string: `{"kind": "string", "value": ...}`."""

    value: str


class AzureDeploymentSecret(_Hidden, frozen=True, kw_only=True):
    """One Azure deployment, field by field as the user pasted it."""

    model_slug: str
    endpoint_url: str
    api_key: str
    model_id: str


class AzureResourceSecret(_Hidden, frozen=True, kw_only=True):
    """A whole Azure resource, with deployments that are named as the catalog names Azure's models."""

    resource_name: str
    resource_type: AzureResourceType
    api_key: str


class AzureSecret(
    _Hidden, frozen=True, kw_only=True, tag_field="kind", tag="azure", omit_defaults=True
):
    """Azure deployments, each for a model of its own, and whole resources, each named once.

    `{"kind": "azure", "deployments": [...], "resources": [...]}`; a deployment goes before resources.
    """

    deployments: list[AzureDeploymentSecret]
    resources: list[AzureResourceSecret] = msgspec.field(default_factory=list)


class BedrockApiKeySecret(
    _Hidden, frozen=True, kw_only=True, tag_field="kind", tag="bedrock-api-key"
):
    """A bearer key of Amazon Bedrock and the one region that it works in."""

    api_key: str
    region: str


class AwsSecret(
    _Hidden, frozen=True, kw_only=True, tag_field="kind", tag="aws", omit_defaults=True
):
    """AWS credentials to sign with; a temporary id (`ASIA...`) has a session token."""

    access_key_id: str
    secret_access_key: str
    region: str
    session_token: str | None = None


class VertexSecret(_Hidden, frozen=True, kw_only=True, tag_field="kind", tag="vertex"):
    """What signing in as a Google service account needs.

    Tokens come from `https://oauth2.googleapis.com/token` and nowhere else, so no address is kept.
    `region` is `global`, `us`, `eu`, or a region.
    """

    project_id: str
    private_key_id: str
    private_key: str
    client_email: str
    region: str


CredentialSecret: TypeAlias = (
    StringSecret | AzureSecret | BedrockApiKeySecret | AwsSecret | VertexSecret
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[CredentialSecret] = msgspec.json.Decoder(CredentialSecret)


def encode_secret(secret: CredentialSecret) -> bytes:
    """The document to encrypt; the same secret always gives the same bytes."""
    return _encoder.encode(secret)


def decode_secret(document: bytes) -> CredentialSecret:
    """The secret in a decrypted document. Raises ValueError, which says nothing of its content."""
    try:
        return _decoder.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("not a credential secret that this version knows") from None
