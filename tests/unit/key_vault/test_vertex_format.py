"""Google Vertex: the JSON key of a service account."""

import json
from typing import Any

import pytest

from shared.events.credential_secrets import VertexSecret
from tests.support.pasted_keys import (
    CANARY,
    changed,
    check_refusal,
    ec_pem,
    rsa_pem,
    service_account,
    taken,
)

VERTEX = "google-vertex"
NOT_LOADED = "private_key cannot be loaded"
TYPE_RULE = "type must be service_account"
BAD_FIELDS: list[tuple[str, Any, str]] = [
    ("type", None, "Missing: type"),
    ("type", "authorized_user", TYPE_RULE),
    ("type", f"{CANARY}", TYPE_RULE),
    ("type", 5, "type must be a string"),
    ("project_id", None, "Missing: project_id"),
    ("project_id", "", "project_id must be a Google Cloud project's id"),
    ("project_id", f"{CANARY}", "project_id must be a Google Cloud project's id"),
    ("project_id", "my-project/../x", "project_id must be a Google Cloud project's id"),
    ("project_id", "12345678", "project_id must be a Google Cloud project's id"),
    ("private_key_id", None, "Missing: private_key_id"),
    ("private_key_id", "your-private-key-id", "40 lower-case hexadecimal digits"),
    ("private_key_id", f"{CANARY}", "40 lower-case hexadecimal digits"),
    ("client_email", None, "Missing: client_email"),
    ("client_email", f"{CANARY}@example.com", "client_email must be a service account's"),
    ("client_email", f"{CANARY}", "client_email must be a service account's"),
    ("client_email", "a@gserviceaccount.com.evil.example", "client_email must be a service"),
    ("client_email", "a\n@b.iam.gserviceaccount.com", "client_email must be a service account's"),
    ("token_uri", f"https://{CANARY}.example.com/token", "token_uri must be https://oauth2.goog"),
    ("token_uri", "https://oauth2.googleapis.com/token/", "token_uri must be https://oauth2.goog"),
    ("token_uri", "https://accounts.google.com/o/oauth2/token", "token_uri must be https://oauth2"),
    ("token_uri", {"a": CANARY}, "token_uri must be a string"),
    ("universe_domain", f"{CANARY}.example.com", "universe_domain must be googleapis.com"),
    ("universe_domain", "", "universe_domain must be googleapis.com"),
    ("region", "", "region must be global, us, eu, or one region"),
    ("region", f"{CANARY}", "region must be global, us, eu, or one region"),
    ("region", "us-central1-a", "region must be global, us, eu, or one region"),
    ("region", "us-east-1", "region must be global, us, eu, or one region"),
    ("region", "europe-west1.evil.example/", "region must be global, us, eu, or one region"),
    ("region", ["global"], "region must be a string"),
    ("private_key", None, "Missing: private_key"),
    ("private_key", [CANARY], "private_key must be a string"),
    ("private_key", f"{CANARY}", "must begin with -----BEGIN PRIVATE KEY-----"),
    ("private_key", "", "must begin with -----BEGIN PRIVATE KEY-----"),
    (
        "private_key",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n",
        NOT_LOADED,
    ),
    ("private_key", "-----BEGIN PRIVATE KEY-----", NOT_LOADED),
    ("private_key", f"-----BEGIN PRIVATE KEY-----\né{CANARY}", NOT_LOADED),
    ("private_key", f"-----BEGIN PRIVATE KEY-----\n\ud800{CANARY}", NOT_LOADED),
    (
        "private_key",
        f"-----BEGIN CERTIFICATE-----\n{CANARY}\n-----END CERTIFICATE-----\n",
        NOT_LOADED,
    ),
    ("private_key", f"-----BEGIN {CANARY * 400}", "private_key is longer than 4096"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_FIELDS)
def test_each_mistake_in_a_service_account_is_named_with_its_field(
    name: str, value: Any, message: str
) -> None:
    check_refusal(VERTEX, changed(service_account(), **{name: value}), f"key.{name}", message)


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (lambda: rsa_pem()[:-60], NOT_LOADED),
        (lambda: rsa_pem().replace("\n", "\\n"), "escaped twice"),
        (lambda: rsa_pem(passphrase="x"), "encrypted with a passphrase"),
        (lambda: rsa_pem(passphrase="x", old_style=True), "encrypted with a passphrase"),
        (lambda: rsa_pem(1024), "at least 2048 bits"),
        (ec_pem, "must be an RSA key"),
    ],
)
def test_a_private_key_that_cannot_sign_is_refused(pem: Any, message: str) -> None:
    pasted = changed(service_account(), private_key=pem())

    check_refusal(VERTEX, pasted, "key.private_key", message)


@pytest.mark.parametrize(
    ("pasted", "message"),
    [
        ("", "takes the JSON key of a service account"),
        (CANARY, "takes the JSON key of a service account"),
        (f'"{CANARY}"', "takes the JSON key of a service account"),
        ("-----BEGIN PRIVATE KEY-----", "takes the JSON key of a service account"),
        ("[]", "Must be an object with type"),
        (f'[{{"type": "{CANARY}"}}]', "Must be an object with type"),
        (f'{{"type": "{CANARY}"', "not valid JSON"),
        (f'{{"type": "{CANARY}", "type": "x"}}', "names a field twice"),
        ('{"a":' * 20, "nested deeper than 8"),
    ],
)
def test_what_is_no_service_account_is_refused(pasted: str, message: str) -> None:
    check_refusal(VERTEX, pasted, "key", message)


def test_a_service_account_is_kept_with_what_signing_in_needs_and_no_more() -> None:
    more = {"bucket": "gs://mine", "quota_project_id": "x", CANARY: {"deep": [1, 2]}}
    account = service_account()

    parsed = taken(VERTEX, f"\ufeff{json.dumps(account | more, indent=2)}\n")

    assert parsed.secret == VertexSecret(
        project_id=account["project_id"],
        private_key_id=account["private_key_id"],
        private_key=account["private_key"],
        client_email=account["client_email"],
        region="global",
    )
    assert parsed.label == "openroute@my-project-123 ...ab12"
    assert (parsed.deployments, parsed.resources) == (None, ())


@pytest.mark.parametrize(
    "region",
    [
        *("global", "us", "eu", "us-central1", "europe-west1", "europe-west12", "africa-south1"),
        *("northamerica-northeast1", "australia-southeast2", "us-east5"),
    ],
)
def test_every_kind_of_region_is_taken(region: str) -> None:
    secret = taken(VERTEX, changed(service_account(), region=region)).secret

    assert isinstance(secret, VertexSecret)
    assert secret.region == region


def test_without_a_region_the_key_serves_the_global_one() -> None:
    pasted = changed(service_account(), region=None, universe_domain=None, token_uri=None)

    secret = taken(VERTEX, pasted).secret

    assert isinstance(secret, VertexSecret)
    assert secret.region == "global"


@pytest.mark.parametrize(
    "changes",
    [
        {"client_email": "123456789-compute@developer.gserviceaccount.com"},
        {"client_email": "my-project-123@appspot.gserviceaccount.com"},
        {
            "project_id": "example.com:my-project",
            "client_email": "sa@my-project.example.com.iam.gserviceaccount.com",
        },
    ],
)
def test_googles_other_forms_of_names_are_taken(changes: dict[str, str]) -> None:
    taken(VERTEX, changed(service_account(), **changes))


@pytest.mark.parametrize("pem", [lambda: rsa_pem(3072), lambda: rsa_pem(old_style=True)])
def test_larger_keys_and_the_older_form_can_sign_too(pem: Any) -> None:
    taken(VERTEX, changed(service_account(), private_key=pem()))
