"""The document inside a ciphertext does not print and is read strictly."""

import msgspec
import pytest

from shared.events.credential_secrets import (
    AwsSecret,
    AzureDeploymentSecret,
    AzureResourceSecret,
    AzureSecret,
    BedrockApiKeySecret,
    CredentialSecret,
    StringSecret,
    VertexSecret,
    decode_secret,
    encode_secret,
)

CANARY = "Zq7canaryZq7"
AZURE = AzureSecret(
    deployments=[
        AzureDeploymentSecret(
            model_slug="a/b", endpoint_url=f"https://{CANARY}", api_key=CANARY, model_id="m"
        )
    ]
)


RESOURCES = AzureSecret(
    deployments=[],
    resources=[AzureResourceSecret(resource_name="r", resource_type="ai_foundry", api_key=CANARY)],
)
BEDROCK = BedrockApiKeySecret(api_key=CANARY, region="us-east-1")
AWS = AwsSecret(
    access_key_id=CANARY, secret_access_key=CANARY, region="us-east-1", session_token=CANARY
)
VERTEX = VertexSecret(
    project_id="p",
    private_key_id="k",
    private_key=CANARY,
    client_email=CANARY,
    region="global",
)


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        (
            RESOURCES,
            {
                "kind": "azure",
                "deployments": [],
                "resources": [
                    {"resource_name": "r", "resource_type": "ai_foundry", "api_key": CANARY}
                ],
            },
        ),
        (BEDROCK, {"kind": "bedrock-api-key", "api_key": CANARY, "region": "us-east-1"}),
        (
            AWS,
            {
                "kind": "aws",
                "access_key_id": CANARY,
                "secret_access_key": CANARY,
                "region": "us-east-1",
                "session_token": CANARY,
            },
        ),
        (
            VERTEX,
            {
                "kind": "vertex",
                "project_id": "p",
                "private_key_id": "k",
                "private_key": CANARY,
                "client_email": CANARY,
                "region": "global",
            },
        ),
    ],
)
def test_the_other_secrets_are_written_in_their_form_and_read_again(
    secret: CredentialSecret, written: dict[str, object]
) -> None:
    assert msgspec.json.decode(encode_secret(secret)) == written
    assert decode_secret(encode_secret(secret)) == secret


def test_secrets_are_written_in_the_form_that_is_agreed() -> None:
    assert encode_secret(StringSecret(value="sk-1")) == b'{"kind":"string","value":"sk-1"}'
    assert msgspec.json.decode(encode_secret(AZURE)) == {
        "kind": "azure",
        "deployments": [
            {
                "model_slug": "a/b",
                "endpoint_url": f"https://{CANARY}",
                "api_key": CANARY,
                "model_id": "m",
            }
        ],
    }


def test_secrets_do_not_print() -> None:
    whole = (StringSecret(value=CANARY), AZURE, RESOURCES, BEDROCK, AWS, VERTEX)
    for secret in (*whole, AZURE.deployments[0], RESOURCES.resources[0]):
        shown = [repr(secret), str(secret), f"{secret}", str([secret]), str(secret.__rich_repr__())]
        assert all(CANARY not in text for text in shown)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff",
        b"{}",
        CANARY.encode(),
        b'{"kind":"string"}',
        b'{"kind":"string","value":1}',
        f'{{"kind":"{CANARY}","value":"x"}}'.encode(),
    ],
)
def test_an_unknown_document_is_refused_without_its_content(document: bytes) -> None:
    with pytest.raises(ValueError, match="not a credential secret") as caught:
        decode_secret(document)

    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
