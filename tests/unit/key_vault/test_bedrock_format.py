"""Amazon Bedrock: API keys with their region, and AWS credentials."""

import json
from base64 import b64encode

import pytest

from shared.events.credential_secrets import AwsSecret, BedrockApiKeySecret
from tests.support.pasted_keys import (
    AWS,
    CANARY,
    LONG_TERM_KEY,
    TEMPORARY,
    changed,
    check_refusal,
    encoded_key,
    short_term_key,
    taken,
)

BEDROCK = "amazon-bedrock"
SCOPE = "ASIAIOSFODNN7EXAMPLE/20261126/{}/bedrock/aws4_request"
REGION_RULE = "region must be an AWS region"
NOT_READ = "This short-term key cannot be read"
NO_REGION = "does not say its region"


def with_key(key: str, **more: object) -> str:
    return json.dumps({"apiKey": key, **more})


BAD = [
    ("", "key", "The key is empty"),
    (" \n", "key", "The key is empty"),
    ("x" * 16_385, "key", "longer than 16384"),
    (f"ABSK{CANARY} {CANARY}", "key", "white space inside"),
    (f"ABSK{CANARY}\0", "key", "not printable ASCII"),
    (f"ABSK{CANARY}\ud800", "key", "not printable ASCII"),
    (f"sk-{CANARY}0123456789abcdef", "key", "begins with ABSK or bedrock-api-key-"),
    (f"ABSK{CANARY}", "key", "This long-term key is not whole"),
    (f"ABSK{CANARY}{'x' * 30}!", "key", "This long-term key is not whole"),
    ("AKIAIOSFODNN7EXAMPLE", "key", "the id of an AWS access key"),
    (f"bedrock-api-key-{CANARY}", "key", NOT_READ),
    ("bedrock-api-key-", "key", NOT_READ),
    ("bedrock-api-key-!!!!", "key", NOT_READ),
    (encoded_key(f"https://{CANARY}.example.com/"), "key", NOT_READ),
    (encoded_key("bedrock.amazonaws.com/?" + "a=1&" * 40), "key", NOT_READ),
    (encoded_key(f"é?X-Amz-Signature={CANARY}"), "key", NOT_READ),
    (encoded_key("h/?X-Amz-Signature=1&X-Amz-Signature=2"), "key", NOT_READ),
    (encoded_key(f"h/?X-Amz-Signature={CANARY}"), "key", NO_REGION),
    (short_term_key(X_Amz_Credential=CANARY), "key", NO_REGION),
    (short_term_key(X_Amz_Credential=SCOPE.format(CANARY)), "key", NO_REGION),
    (short_term_key(X_Amz_Credential=SCOPE.format("eu-west-1a")), "key", NO_REGION),
    (
        short_term_key(X_Amz_Credential=f"{CANARY}/20261126/eu-west-1/bedrock/aws4_request"),
        "key",
        NOT_READ,
    ),
    (
        short_term_key(X_Amz_Credential="ASIAIOSFODNN7EXAMPLE/20261126/eu-west-1/s3/aws4_request"),
        "key",
        NOT_READ,
    ),
    (
        short_term_key(X_Amz_Date="20261125T110000Z"),
        "key",
        "This short-term key expired at 2026-11-25 23:00:00 UTC",
    ),
    (short_term_key(X_Amz_Expires="3600"), "key", "expired at 2026-11-26 12:00:00 UTC"),
    (f'["{CANARY}"]', "key", "Must be an object with accessKeyId"),
    (f'{{"apiKey": "{CANARY}"', "key", "not valid JSON: see line 1"),
    (f'{{"apiKey": "{CANARY}", "apiKey": ""}}', "key", "names a field twice"),
    (with_key(""), "key.apiKey", "The key is empty"),
    (with_key(f"sk-{CANARY}"), "key.apiKey", "begins with ABSK or bedrock-api-key-"),
    (with_key(LONG_TERM_KEY, region=CANARY), "key.region", REGION_RULE),
    (with_key(LONG_TERM_KEY, region=1), "key.region", "region must be a string"),
    (with_key(LONG_TERM_KEY, Region="us-east-1"), "key.Region", "Region is unknown"),
    (with_key(LONG_TERM_KEY, accessKeyId=CANARY), "key.accessKeyId", "accessKeyId is unknown"),
    (json.dumps({"apiKey": {"a": CANARY}}), "key.apiKey", "apiKey must be a string"),
    (with_key(short_term_key(), region="us-west-2"), "key.region", "another one than this short"),
    ("{}", "key.accessKeyId", "Missing: accessKeyId, secretAccessKey, region"),
    (changed(AWS, region=None), "key.region", "Missing: region"),
    (changed(AWS, secretAccessKey=None), "key.secretAccessKey", "Missing: secretAccessKey"),
    (changed(AWS, access_key_id=CANARY), "key.access_key_id", "access_key_id is unknown"),
    (changed(AWS, **{CANARY: "x"}), "key", "a field that is unknown"),
    (changed(AWS, accessKeyId=[CANARY]), "key.accessKeyId", "accessKeyId must be a string"),
    (changed(AWS, accessKeyId=CANARY), "key.accessKeyId", "must begin with AKIA or ASIA"),
    (changed(AWS, accessKeyId="AROAIOSFODNN7EXAMPLE"), "key.accessKeyId", "AKIA or ASIA"),
    (changed(AWS, accessKeyId="AKIAiosfodnn7example"), "key.accessKeyId", "upper-case letters"),
    (changed(AWS, secretAccessKey=CANARY), "key.secretAccessKey", "the 40 characters"),
    (changed(AWS, secretAccessKey="é" * 40), "key.secretAccessKey", "the 40 characters"),
    (changed(AWS, region=f"us-east-1{CANARY}"), "key.region", REGION_RULE),
    (changed(AWS, region="us-east-1a"), "key.region", REGION_RULE),
    (changed(AWS, region="US-EAST-1"), "key.region", REGION_RULE),
    (changed(AWS, region="your-aws-region"), "key.region", REGION_RULE),
    (changed(AWS, region="us-east-1.evil.example/"), "key.region", REGION_RULE),
    (changed(TEMPORARY, sessionToken=None), "key.sessionToken", "temporary and needs it"),
    (changed(TEMPORARY, sessionToken=f"{CANARY} x"), "key.sessionToken", "in one piece"),
    (
        changed(AWS, sessionToken=TEMPORARY["sessionToken"]),
        "key.sessionToken",
        "goes with a temporary accessKeyId",
    ),
]


@pytest.mark.parametrize(("pasted", "field", "message"), BAD)
def test_each_mistake_in_a_bedrock_key_is_named_with_its_place(
    pasted: str, field: str, message: str
) -> None:
    check_refusal(BEDROCK, pasted, field, message)


@pytest.mark.parametrize(
    ("pasted", "region"),
    [
        (f" {LONG_TERM_KEY}\n", "us-east-1"),
        (with_key(LONG_TERM_KEY), "us-east-1"),
        (with_key(LONG_TERM_KEY, region="ap-southeast-2"), "ap-southeast-2"),
    ],
)
def test_a_long_term_key_serves_the_region_that_is_said_beside_it(pasted: str, region: str) -> None:
    parsed = taken(BEDROCK, pasted)

    assert parsed.secret == BedrockApiKeySecret(api_key=LONG_TERM_KEY, region=region)
    assert parsed.label == f"ABSK...{LONG_TERM_KEY[-4:]}"
    assert (parsed.deployments, parsed.resources) == (None, ())


@pytest.mark.parametrize(
    "pasted",
    [
        short_term_key(),
        short_term_key().rstrip("="),
        with_key(short_term_key()),
        with_key(short_term_key(), region="eu-west-1"),
        short_term_key(X_Amz_Date="", X_Amz_Expires=""),
        short_term_key(X_Amz_Expires="3601"),
    ],
)
def test_a_short_term_key_is_bound_to_the_region_that_it_was_signed_for(pasted: str) -> None:
    parsed = taken(BEDROCK, pasted)

    assert isinstance(parsed.secret, BedrockApiKeySecret)
    assert parsed.secret.region == "eu-west-1"
    assert parsed.secret.api_key.startswith("bedrock-api-key-")
    assert parsed.label == "ASIA...MPLE"


def test_a_key_of_awss_own_generator_is_read() -> None:
    # the order and the missing "https://" are those of aws-bedrock-token-generator 1.1
    text = (
        "bedrock.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261126%2Fus-west-2%2Fbedrock%2Faws4_request"
        "&X-Amz-Date=20261126T115500Z&X-Amz-Expires=43200&X-Amz-SignedHeaders=host"
        f"&X-Amz-Signature={'a' * 64}&Version=1"
    )
    key = "bedrock-api-key-" + b64encode(text.encode()).decode()

    assert taken(BEDROCK, key).secret == BedrockApiKeySecret(api_key=key, region="us-west-2")


@pytest.mark.parametrize(
    "region",
    [
        *("us-east-1", "us-gov-west-1", "eu-central-1", "ap-northeast-3", "mx-central-1"),
        *("us-iso-east-1", "eusc-de-east-1", "cn-north-1"),
    ],
)
def test_aws_credentials_are_taken_in_every_kind_of_region(region: str) -> None:
    parsed = taken(BEDROCK, changed(AWS, region=region))

    assert parsed.secret == AwsSecret(
        access_key_id=AWS["accessKeyId"], secret_access_key=AWS["secretAccessKey"], region=region
    )
    assert parsed.label == "AKIA...MPLE"


def test_temporary_credentials_keep_their_session_token() -> None:
    parsed = taken(BEDROCK, json.dumps(TEMPORARY))

    assert isinstance(parsed.secret, AwsSecret)
    assert parsed.secret.session_token == TEMPORARY["sessionToken"]
    assert parsed.label == "ASIA...MPLE"
