"""Every format of the mission document over HTTP: what is taken, what is refused, what is called."""

import json
from typing import Any

import pytest

from deploy.product import Account, Product
from deploy.tap import tap
from shared.events.fees import FeeWaived
from shared.events.generations import GenerationFinished
from shared.events.topics import BILLING_FEES, INFERENCE_GENERATIONS
from tests.support.pasted_keys import (
    AWS,
    CANARY,
    DEPLOYMENT,
    LONG_TERM_KEY,
    RESOURCE,
    TEMPORARY,
    changed,
    service_account,
    short_term_key,
)

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("resource_type", "model", "deployment"),
    [
        (None, "openai/gpt-4o", "gpt-4o"),
        ("openai", "openai/gpt-4o-mini", "gpt-4o-mini"),
        ("ai_foundry", "openai/gpt-4o", "gpt-4o"),
        ("ai_foundry", "mistralai/mistral-large", "mistral-large"),
    ],
)
async def test_a_whole_azure_resource_serves_a_model_that_nobody_named(
    product: Product, resource_type: str | None, model: str, deployment: str, *, stream: bool
) -> None:
    account = await product.make_account()
    secret = f"azure-whole-{account.account_id}"
    resource = {"resource_name": "acme", "api_key": secret}
    if resource_type is not None:
        resource["resource_type"] = resource_type
    credential = await product.add_credential(account, provider="azure", key=resource)

    async with tap(product.kafka, [BILLING_FEES, INFERENCE_GENERATIONS]) as events:
        answer = await product.complete(account, "words=7", model=model, stream=stream)

        assert answer.status == 200, answer.text
        assert len(answer.content.split()) == 7
        assert answer.usage["is_byok"] is True
        finished = (
            await events.wait_for(
                lambda received: (
                    isinstance(received.event, GenerationFinished)
                    and received.event.account_id == account.account_id
                )
            )
        ).event
        waived = (
            await events.wait_for(
                lambda received: (
                    isinstance(received.event, FeeWaived)
                    and received.event.account_id == account.account_id
                )
            )
        ).event
    assert isinstance(finished, GenerationFinished)
    assert [each.endpoint for each in finished.attempts] == [f"azure/acme/{deployment}"]
    assert isinstance(waived, FeeWaived)
    assert waived.credential_id == credential["id"]
    (call,) = await product.provider_calls(secret)
    assert (call["wire"], call["model"], call["outcome"]) == ("azure", deployment, "completed")


async def test_a_deployment_goes_before_the_resource_that_stands_beside_it(
    product: Product,
) -> None:
    account = await product.make_account()
    one, whole = f"azure-one-{account.account_id}", f"azure-whole-{account.account_id}"
    key = [
        {"resource_name": "acme", "api_key": whole},
        product.azure_deployment(one, model_slug="openai/gpt-4o", model_id="our-own"),
    ]
    await product.add_credential(account, provider="azure", key=key)

    named = await product.complete(account, model="openai/gpt-4o")
    other = await product.complete(account, model="openai/gpt-4o-mini")

    assert (named.status, other.status) == (200, 200)
    assert [call["model"] for call in await product.provider_calls(one)] == ["our-own"]
    assert [call["model"] for call in await product.provider_calls(whole)] == ["gpt-4o-mini"]


async def test_of_two_resources_the_second_serves_when_the_first_is_rate_limited(
    product: Product,
) -> None:
    account = await product.make_account()
    first, second = f"azure-1-{account.account_id}", f"azure-2-{account.account_id}"
    key = [
        {"resource_name": "first", "api_key": first},
        {"resource_name": "second", "resource_type": "ai_foundry", "api_key": second},
    ]
    await product.add_credential(account, provider="azure", key=key, always_use=True)
    await product.script(first, [{"kind": "status", "status": 429, "retry_after": "30"}])

    answers = [await product.complete(account) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    # the first cools down by itself: it is asked once, and the second goes on
    assert len(await product.provider_calls(first)) == 1
    assert len(await product.provider_calls(second)) == 2


KEPT = {
    "bedrock long-term": ("amazon-bedrock", LONG_TERM_KEY, f"ABSK...{LONG_TERM_KEY[-4:]}"),
    "bedrock with a region": (
        "amazon-bedrock",
        {"apiKey": LONG_TERM_KEY, "region": "eu-west-1"},
        f"ABSK...{LONG_TERM_KEY[-4:]}",
    ),
    "aws": ("amazon-bedrock", AWS, "AKIA...MPLE"),
    "aws temporary": ("amazon-bedrock", TEMPORARY, "ASIA...MPLE"),
    "vertex": ("google-vertex", service_account(), "openroute@my-project-123 ...ab12"),
    "azure resource": ("azure", RESOURCE, "...3210"),
    "azure mixed": ("azure", [RESOURCE, DEPLOYMENT], "...3210 (+1)"),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("as_text", [False, True])
async def test_each_format_is_kept_as_text_or_as_json_and_shown_masked(
    product: Product, name: str, *, as_text: bool
) -> None:
    provider, key, label = KEPT[name]
    account = await product.make_account()
    sent = json.dumps(key) if as_text and not isinstance(key, str) else key

    answer = await save(product, account, provider, sent)

    assert answer.status == 201, answer.text
    assert (answer.json["data"]["provider"], answer.json["data"]["label"]) == (provider, label)


REFUSED = {
    "azure unknown model": (
        "azure",
        [RESOURCE, DEPLOYMENT | {"model_slug": "openai/gpt-4"}],
        "key[1].model_slug",
        "did you mean openai/gpt-4o",
    ),
    "azure same model": (
        "azure",
        [DEPLOYMENT, DEPLOYMENT],
        "key[1].model_slug",
        "each model has one deployment",
    ),
    "azure same resource": (
        "azure",
        [RESOURCE, RESOURCE],
        "key[1].resource_name",
        "each resource has one key",
    ),
    "azure no api version": (
        "azure",
        DEPLOYMENT | {"endpoint_url": f"https://{CANARY}.openai.azure.com/chat/completions"},
        "key.endpoint_url",
        "must say the API version",
    ),
    "azure resource type": (
        "azure",
        RESOURCE | {"resource_type": CANARY},
        "key.resource_type",
        "must be openai (for",
    ),
    "azure field": ("azure", RESOURCE | {"endpoint": CANARY}, "key.endpoint", "is unknown"),
    "bedrock text": ("amazon-bedrock", f"sk-{CANARY}", "key", "begins with ABSK or"),
    "bedrock expired": (
        "amazon-bedrock",
        short_term_key(X_Amz_Date="20250101T000000Z"),
        "key",
        "expired at 2025-01-01 12:00:00 UTC",
    ),
    "bedrock no token": (
        "amazon-bedrock",
        changed(TEMPORARY, sessionToken=None),
        "key.sessionToken",
        "temporary and needs it",
    ),
    "bedrock region": ("amazon-bedrock", AWS | {"region": CANARY}, "key.region", "like us-east-1"),
    "bedrock field": (
        "amazon-bedrock",
        AWS | {"secret_access_key": CANARY},
        "key.secret_access_key",
        "is unknown",
    ),
    "vertex type": (
        "google-vertex",
        service_account() | {"type": "authorized_user"},
        "key.type",
        "must be service_account",
    ),
    "vertex token address": (
        "google-vertex",
        service_account() | {"token_uri": f"https://{CANARY}.example.com/token"},
        "key.token_uri",
        "must be https://oauth2.googleapis.com/token",
    ),
    "vertex key": (
        "google-vertex",
        service_account() | {"private_key": CANARY},
        "key.private_key",
        "must begin with",
    ),
    "string": ("openai", f"sk-{CANARY} {CANARY}", "key", "white space inside"),
    "string as JSON": ("openai", {"api_key": CANARY}, "key", "takes a plain string"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_mistake_is_a_400_that_names_the_field_and_repeats_nothing(
    product: Product, name: str
) -> None:
    provider, key, field, message = REFUSED[name]
    account = await product.make_account()

    answer = await save(product, account, provider, key)

    assert answer.status == 400, answer.text
    assert answer.json["error"]["code"] == 400
    assert answer.json["error"]["metadata"]["error_type"] == "invalid_request"
    assert answer.json["error"]["message"].startswith(f"{field}: ")
    assert message in answer.json["error"]["message"]
    assert CANARY not in answer.text
    listed = await product.request("GET", "/byok", key=account.management_key)
    assert listed.json == {"data": [], "total_count": 0}


async def save(product: Product, account: Account, provider: str, key: Any) -> Any:
    return await product.request(
        "POST", "/byok", key=account.management_key, body={"provider": provider, "key": key}
    )
