"""Embeddings as their users have them: the official client, the real stack, events read from Kafka."""

from array import array
from base64 import b64encode
from decimal import Decimal
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from deploy.product import Account, Product
from deploy.tap import tap
from shared.events.fees import CreditsCharged, FeeDeducted, FeeWaived
from shared.events.generations import GenerationFinished
from shared.events.topics import BILLING_FEES, INFERENCE_GENERATIONS, ROUTING_FALLBACKS
from shared.money import NANO_PER_USD
from tests.e2e.test_story import FIVE_DOLLARS, fallback_of, of
from tests.simulator.embeddings import vector
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

SMALL = "openai/text-embedding-3-small"
SMALL_PRICE = Decimal("0.00000002")
TITAN = "amazon/titan-embed-text-v2"
TEXTS = ["one two three", "four"]


def client_of(product: Product, account: Account) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=account.api_key, base_url=product.base_url, max_retries=0)


def usage_of(answer: Any) -> Any:
    """`usage` with what OpenRouter adds to OpenAI's."""
    return answer.usage.model_dump()


async def test_an_own_key_embeds_and_the_fee_is_waived(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"sk-own-{account.account_id}"
    credential = await product.add_credential(account, key=secret)

    async with (
        client_of(product, account) as client,
        tap(product.kafka, [BILLING_FEES, INFERENCE_GENERATIONS]) as events,
    ):
        answer = await client.embeddings.create(model=SMALL, input=TEXTS, dimensions=64)
        waived = (await events.wait_for(of(account, FeeWaived))).event
        finished = (await events.wait_for(of(account, GenerationFinished))).event

    assert [each.embedding for each in answer.data] == [vector(text, 64) for text in TEXTS]
    usage = usage_of(answer)
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (4, 4)
    assert (usage["is_byok"], usage["cost"]) == (True, 0)
    list_cost = Decimal(str(usage["cost_details"]["upstream_inference_cost"]))
    assert list_cost == 4 * SMALL_PRICE
    assert isinstance(waived, FeeWaived)
    assert (waived.credential_id, waived.model) == (credential["id"], SMALL)
    assert waived.list_cost_nano_usd == list_cost * NANO_PER_USD
    assert waived.allotment_used == 1
    assert isinstance(finished, GenerationFinished)
    assert (finished.operation, finished.streamed) == ("embeddings", False)
    [call] = await product.provider_calls(secret)
    assert (call["operation"], call["outcome"]) == ("embeddings", "completed")


async def test_beyond_the_allotment_the_fee_is_a_percentage_of_the_prompt(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS, free_requests=0)
    await product.add_credential(account, key=f"sk-own-{account.account_id}")
    text = "word " * 1000

    async with client_of(product, account) as client, tap(product.kafka, [BILLING_FEES]) as events:
        answer = await client.embeddings.create(model=SMALL, input=text)
        deducted = (await events.wait_for(of(account, FeeDeducted))).event

    fee = 1000 * SMALL_PRICE * 5 / 100
    assert Decimal(str(usage_of(answer)["cost"])) == fee
    assert isinstance(deducted, FeeDeducted)
    assert deducted.fee_nano_usd == fee * NANO_PER_USD


async def test_without_a_key_shared_capacity_embeds_for_credits(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    async with client_of(product, account) as client, tap(product.kafka, [BILLING_FEES]) as events:
        answer = await client.embeddings.create(model=SMALL, input="word " * 500)
        charged = (await events.wait_for(of(account, CreditsCharged))).event

    usage = usage_of(answer)
    assert usage["is_byok"] is False
    assert Decimal(str(usage["cost"])) == 500 * SMALL_PRICE
    assert isinstance(charged, CreditsCharged)
    assert charged.charge_nano_usd == 500 * SMALL_PRICE * NANO_PER_USD
    assert charged.credits_nano_usd == FIVE_DOLLARS - charged.charge_nano_usd

    poor = await product.make_account()
    async with client_of(product, poor) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            await client.embeddings.create(model=SMALL, input="word")
    assert refused.value.status_code == 402


async def test_a_key_that_fails_gives_way_to_credits(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"sk-limited-{account.account_id}"
    credential = await product.add_credential(account, key=secret)
    await product.script(secret, [{"kind": "status", "status": 429, "retry_after": "30"}])

    async with (
        client_of(product, account) as client,
        tap(product.kafka, [ROUTING_FALLBACKS]) as events,
    ):
        first = await client.embeddings.create(model=SMALL, input=TEXTS)
        fallback = await fallback_of(events, account)
        second = await client.embeddings.create(model=SMALL, input=TEXTS)

    assert (usage_of(first)["is_byok"], usage_of(second)["is_byok"]) == (False, False)
    assert fallback.from_.credential_id == credential["id"]
    assert (fallback.reason, fallback.to.tier) == ("rate_limited", "shared")
    assert len(await product.provider_calls(secret)) == 1  # it is cooling down


async def test_batches_that_were_done_before_one_failed_are_in_the_receipt_and_cost_nothing(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS, free_requests=0)
    secret = f"ABSK{account.account_id.replace('-', '')}"
    await product.add_credential(account, provider="amazon-bedrock", key=secret, always_use=True)
    # one text a call and eight at once: the one that fails begins when another was answered
    limited = {"kind": "status", "status": 429}
    await product.script(secret, [*[{"kind": "ok"}] * 8, limited])
    body = {"model": TITAN, "input": ["one word"] * 20}
    answer = await product.request("POST", "/embeddings", key=account.api_key, body=body)
    assert answer.status == 429
    path = f"/generation?id={answer.headers['X-Generation-Id']}"
    receipt = (await product.request("GET", path, key=account.api_key)).json["data"]
    (failed,) = receipt["provider_responses"]
    calls = await product.provider_calls(secret)
    done = sum(call["usage"]["prompt_tokens"] for call in calls if call["usage"])
    assert (failed["failure"], failed["usage"]) == ("rate_limited", "measured")
    assert 0 < failed["tokens_prompt"] <= done
    assert (receipt["total_cost"], receipt["charge"]["kind"]) == (0, "nothing")
    assert receipt["tokens_prompt"] is None


async def test_always_use_this_key_lets_its_429_reach_the_client(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"sk-always-{account.account_id}"
    await product.add_credential(account, key=secret, always_use=True)
    await product.script(secret, [{"kind": "status", "status": 429, "retry_after": "7"}])
    async with client_of(product, account) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            await client.embeddings.create(model=SMALL, input=TEXTS)
    assert 0 < int(refused.value.response.headers["Retry-After"]) <= 7


async def test_an_azure_deployment_embeds_below_its_own_address(product: Product) -> None:
    account = await product.make_account()
    secret = f"azure-embed-{account.account_id}"
    model = SMALL.partition("/")[2]
    saved = await product.add_credential(
        account,
        provider="azure",
        key=product.azure_deployment(secret, model_slug=SMALL, model_id=model),
    )
    assert saved["check"]["status"] == "ok", saved["check"]
    async with client_of(product, account) as client:
        answer = await client.embeddings.create(model=SMALL, input=TEXTS)
    assert usage_of(answer)["is_byok"] is True
    assert answer.data[1].embedding == vector("four", 1536)
    [call] = await product.provider_calls(secret)
    assert (call["wire"], call["operation"], call["model"]) == ("azure", "embeddings", model)


async def test_titan_embeds_text_by_text_with_aws_credentials(product: Product) -> None:
    account = await product.make_account()
    secret = f"ABSK{account.account_id}"
    await product.add_credential(account, provider="amazon-bedrock", key=secret)
    texts = [f"text {at}" for at in range(10)]
    async with client_of(product, account) as client:
        answer = await client.embeddings.create(
            model=TITAN, input=texts, dimensions=256, encoding_format="float"
        )
    assert [each.embedding for each in answer.data] == [vector(text, 256) for text in texts]
    assert answer.usage.prompt_tokens == 20
    calls = [
        call for call in await product.provider_calls(secret) if call["operation"] == "embeddings"
    ]
    assert len(calls) == 10


async def test_the_largest_answer_there_is_comes_whole(product: Product) -> None:
    """As many inputs as a request may have, of the longest vectors: 34 MB of base64."""
    account = await product.make_account()
    await product.add_credential(account, key=f"sk-large-{account.account_id}")
    inputs = [f"text {at}" for at in range(2048)]
    answer = await product.request(
        "POST",
        "/embeddings",
        key=account.api_key,
        body={
            "model": "openai/text-embedding-3-large",
            "input": inputs,
            "encoding_format": "base64",
        },
    )
    assert answer.status == 200, answer.text[:500]
    body = answer.json
    assert [each["index"] for each in body["data"]] == list(range(2048))
    for at in (0, 511, 512, 2047):
        packed = b64encode(_packed(vector(inputs[at], 3072))).decode()
        assert body["data"][at]["embedding"] == packed
    assert body["usage"]["prompt_tokens"] == 2 * 2048


def _packed(values: list[float]) -> bytes:
    return array("f", values).tobytes()


async def test_each_operation_refuses_the_others_models(product: Product) -> None:
    account = await product.make_account()
    async with client_of(product, account) as client:
        with pytest.raises(openai.BadRequestError, match="chats and makes no embeddings"):
            await client.embeddings.create(model="openai/gpt-4o", input="a")
        with pytest.raises(openai.BadRequestError, match="makes embeddings and does not chat"):
            await client.chat.completions.create(
                model=SMALL, messages=[{"role": "user", "content": "a"}]
            )


async def test_the_plan_of_a_model_that_embeds_can_be_asked_for(product: Product) -> None:
    account = await product.make_account()
    credential = await product.add_credential(account, key=f"sk-plan-{account.account_id}")

    async def is_planned() -> bool:
        answer = await product.request(
            "GET", f"/byok/plan?model={SMALL}", key=account.management_key
        )
        attempts = answer.json["data"]["attempts"]
        return bool(attempts) and attempts[0]["credential"]["id"] == credential["id"]

    await wait_until(is_planned)
