"""What a credential's ciphertext holds: key_vault writes it, only the dispatcher reads it.

These documents exist encrypted with the Transit key `credentials` and nowhere else, so they are no
events and stand on no topic by themselves. They do not print. Whoever reads one trusts that
key_vault has checked it.
"""

from typing import Any, TypeAlias

import msgspec
from typing_extensions import override

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


class AzureSecret(_Hidden, frozen=True, kw_only=True, tag_field="kind", tag="azure"):
    """Azure deployments: `{"kind": "azure", "deployments": [...]}`, each for a model of its own."""

    deployments: list[AzureDeploymentSecret]


CredentialSecret: TypeAlias = StringSecret | AzureSecret

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
