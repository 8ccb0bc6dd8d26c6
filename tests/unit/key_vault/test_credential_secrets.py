"""The document inside a ciphertext does not print and is read strictly."""

import msgspec
import pytest

from shared.events.credential_secrets import (
    AzureDeploymentSecret,
    AzureSecret,
    StringSecret,
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
    for secret in (StringSecret(value=CANARY), AZURE, AZURE.deployments[0]):
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
