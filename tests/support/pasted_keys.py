"""Pasted secrets that are right by default, and what the formats make of a text."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from services.key_vault.domain.formats.parsed_secret import Conditions, ParsedSecret
from services.key_vault.domain.formats.registry import format_of
from shared.events.envelope import Refused
from shared.secret import Secret

CANARY = "Zq7canaryZq7"
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
ALLOWED = frozenset({"127.0.0.1:9300", "[::1]:9300", "llm.internal:443"})
HOST = "https://res.openai.azure.com"
PATH = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
URL = HOST + PATH
DEPLOYMENT = {
    "model_slug": "openai/gpt-4o",
    "endpoint_url": URL,
    "api_key": "0123456789abcdef0123456789abcdef",
    "model_id": "gpt-4o",
}
RESOURCE = {"api_key": "fedcba9876543210fedcba9876543210", "resource_name": "my-resource"}
LONG_TERM_KEY = "ABSK" + b64encode(b"BedrockAPIKey-abcd-at-123456789012:0123456789abcdef").decode()
AWS = {
    "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
    "secretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "region": "eu-central-1",
}
TEMPORARY = AWS | {
    "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
    "sessionToken": "IQoJb3JpZ2luX2VjEXAMPLE==",
}


def parse(provider: str, pasted: str) -> ParsedSecret | Refused:
    found = format_of(provider)
    if isinstance(found, Refused):
        return found
    return found(Secret(pasted), Conditions(egress_allowed=ALLOWED, now=NOW))


def taken(provider: str, pasted: str) -> ParsedSecret:
    parsed = parse(provider, pasted)
    assert isinstance(parsed, ParsedSecret), parsed
    return parsed


def check_refusal(provider: str, pasted: str, field: str, message: str) -> None:
    """The text is refused at this place in these words, and nothing of it is repeated."""
    refused = parse(provider, pasted)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", field)
    assert message in refused.message
    assert CANARY not in str(refused)


def changed(whole: dict[str, Any], **changes: Any) -> str:
    """The object as JSON with some fields changed; None takes one out."""
    fields = whole | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def short_term_key(**changes: str) -> str:
    """A key as AWS's token generators make it, valid for 12 hours from an hour before NOW."""
    query = {
        "Action": "CallWithBearerToken",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "ASIAIOSFODNN7EXAMPLE/20261126/eu-west-1/bedrock/aws4_request",
        "X-Amz-Date": "20261126T110000Z",
        "X-Amz-Expires": "43200",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Security-Token": "IQoJb3JpZ2luX2VjEXAMPLE//=",
        "X-Amz-Signature": "0" * 64,
        "Version": "1",
    }
    given = {**query, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return encoded_key(f"bedrock.amazonaws.com/?{urlencode(given)}")


def encoded_key(text: str) -> str:
    return "bedrock-api-key-" + b64encode(text.encode()).decode()


@cache
def rsa_pem(bits: int = 2048, *, passphrase: str | None = None, old_style: bool = False) -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=bits)
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    form = PrivateFormat.TraditionalOpenSSL if old_style else PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, encryption).decode()


@cache
def rsa_public_pem() -> str:
    """The public half of `rsa_pem()`, as Google keeps it of a service account."""
    private = load_pem_private_key(rsa_pem().encode(), password=None)
    form = PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(Encoding.PEM, form).decode()


@cache
def ec_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service_account() -> dict[str, Any]:
    """A service account's key as Google makes it, with the mission document's region."""
    email = "openroute@my-project-123.iam.gserviceaccount.com"
    return {
        "type": "service_account",
        "project_id": "my-project-123",
        "private_key_id": "0123456789abcdef0123456789abcdef0123ab12",
        "private_key": rsa_pem(),
        "client_email": email,
        "client_id": "123456789012345678901",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{email}",
        "universe_domain": "googleapis.com",
        "region": "global",
    }
