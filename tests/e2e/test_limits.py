"""Limits as clients meet them: what they are told, how the official client takes it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import openai
import pytest

from deploy.product import Account, Product
from deploy.tap import tap
from shared.events.routing import FallbackDecided
from shared.events.topics import ROUTING_FALLBACKS
from shared.ids import hash_api_key
from shared.money import NANO_PER_USD
from tests.e2e.test_story import FIVE_DOLLARS, of

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

TOKEN_NANO_USD = 10_000
"""A token of gpt-4o's answers."""


@asynccontextmanager
async def official_client(product: Product, account: Account) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=product.base_url, api_key=account.api_key, max_retries=0
    ) as client:
        yield client


async def ask(client: openai.AsyncOpenAI, *, max_tokens: int = 1_000) -> int:
    """One completion; how many tokens it took."""
    completion = await client.chat.completions.create(
        model="openai/gpt-4o",
        messages=[{"role": "user", "content": "words=5"}],
        max_tokens=max_tokens,
    )
    assert completion.usage is not None
    return completion.usage.completion_tokens


async def limit_key(
    product: Product, account: Account, limit_nano_usd: int, *, include_byok: bool = False
) -> None:
    """Limit an account's API key to so much a day."""
    limited = await product.request(
        "PATCH",
        f"/keys/{hash_api_key(account.api_key)}",
        key=account.management_key,
        body={
            "limit": limit_nano_usd / NANO_PER_USD,
            "limit_reset": "daily",
            "include_byok_in_limit": include_byok,
        },
    )
    assert limited.status == 200, limited.text


async def test_a_402_names_the_max_tokens_that_credits_allow_and_those_are_served(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=500 * TOKEN_NANO_USD)
    async with official_client(product, account) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            await ask(client, max_tokens=1_000)
        assert refused.value.status_code == 402
        assert "requires more credits, or fewer max_tokens" in refused.value.message
        assert isinstance(refused.value.body, dict)
        told = refused.value.body["metadata"]
        assert told["error_type"] == "payment_required"
        assert told["available_nano_usd"] == 500 * TOKEN_NANO_USD
        assert told["requested_max_tokens"] == 1_000
        affordable = told["affordable_max_tokens"]
        assert 450 < affordable < 500
        with pytest.raises(openai.APIStatusError):
            await ask(client, max_tokens=affordable + 1)
        assert await ask(client, max_tokens=affordable) == 5


async def test_a_limit_binds_from_the_very_first_request_and_a_raised_one_serves_it(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    made = await product.request(
        "POST", "/keys", key=account.management_key, body={"name": "new", "limit": 0.01}
    )
    assert made.status == 201, made.text
    user = replace(account, api_key=made.json["key"])
    async with official_client(product, user) as client:
        with pytest.raises(openai.APIStatusError, match="Key limit exceeded") as refused:
            await ask(client, max_tokens=4_000)
        assert refused.value.status_code == 402
        assert isinstance(refused.value.body, dict)
        assert refused.value.body["metadata"]["key_limit"]["limit_nano_usd"] == 10_000_000
        await limit_key(product, user, FIVE_DOLLARS)
        assert await ask(client, max_tokens=4_000) == 5
        await limit_key(product, user, 0)
        with pytest.raises(openai.APIStatusError, match="Key limit exceeded"):
            await ask(client, max_tokens=4_000)


async def test_a_key_limit_is_a_402_that_says_what_is_left_and_when_it_resets(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    limit = 2_000 * TOKEN_NANO_USD
    async with official_client(product, account) as client:
        await limit_key(product, account, limit)
        with pytest.raises(openai.APIStatusError, match=r"Key limit exceeded \(daily") as refused:
            await ask(client, max_tokens=10_000)
        assert refused.value.status_code == 402
        assert isinstance(refused.value.body, dict)
        told = refused.value.body["metadata"]
        key_limit = told["key_limit"]
        assert isinstance(key_limit, dict)
        assert key_limit["limit_nano_usd"] == limit
        assert key_limit["left_nano_usd"] <= limit
        assert key_limit["resets_at"].endswith("T00:00:00Z")
        affordable = told["affordable_max_tokens"]
        assert isinstance(affordable, int)
        assert await ask(client, max_tokens=affordable) == 5


async def test_a_limit_that_counts_own_keys_stops_them_before_the_provider_is_called(
    product: Product,
) -> None:
    account = await product.make_account()
    secret = f"sk-counted-{account.account_id}"
    await product.add_credential(account, key=secret, always_use=True)
    async with official_client(product, account) as client:
        # the allotment is ample: nobody would be asked but for the limit
        assert await ask(client, max_tokens=1_000) == 5
        await limit_key(product, account, 500 * TOKEN_NANO_USD, include_byok=True)
        calls = len(await product.provider_calls(secret))
        with pytest.raises(openai.APIStatusError, match="Key limit exceeded"):
            await ask(client, max_tokens=1_000)
        assert len(await product.provider_calls(secret)) == calls
        assert await ask(client, max_tokens=100) == 5


async def limit_shared_capacity(product: Product, account: Account, limits: object) -> None:
    await product.operate(
        "account-policy", "--account", account.account_id, "--shared-limits", json.dumps(limits)
    )


async def test_a_rate_limit_of_shared_capacity_is_a_429_with_its_headers(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    await limit_shared_capacity(product, account, {"default": {"tokens_per_minute": 2_000}})
    async with official_client(product, account) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            await ask(client, max_tokens=4_000)
        headers = refused.value.response.headers
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert headers["X-RateLimit-Limit"] == "2000"
        assert headers["X-RateLimit-Remaining"] == "2000"
        resets_at = int(headers["X-RateLimit-Reset"])
        assert resets_at % 1_000 == 0
        assert isinstance(refused.value.body, dict)
        metadata = refused.value.body["metadata"]
        assert metadata["error_type"] == "rate_limit_exceeded"
        assert metadata["counted"] == "tokens"
        assert metadata["headers"]["X-RateLimit-Reset"] == str(resets_at)
        assert await ask(client, max_tokens=100) == 5
        await product.operate(
            "account-policy", "--account", account.account_id, "--shared-limits", "default"
        )
        assert await ask(client, max_tokens=4_000) == 5


async def test_what_shared_capacity_is_too_busy_for_goes_on_with_the_next_attempt(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    await limit_shared_capacity(product, account, {"default": {"requests_per_minute": 0}})
    kept = await product.add_credential(
        account, key=f"sk-fallback-{account.account_id}", is_fallback=True
    )
    async with (
        tap(product.kafka, [ROUTING_FALLBACKS]) as events,
        official_client(product, account) as client,
    ):
        assert await ask(client) == 5
        fallback = (await events.wait_for(of(account, FallbackDecided))).event
    assert isinstance(fallback, FallbackDecided)
    assert (fallback.from_.tier, fallback.reason) == ("shared", "shared_rate_limited")
    last = events.seen[-1].event
    assert isinstance(last, FallbackDecided)
    assert last.to.credential_id == kept["id"]
