"""GET /byok/plan, and that the next completion does exactly what it says."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from deploy.product import Account, Product
from shared.ids import hash_api_key
from shared.money import NANO_PER_USD
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

MODEL = "openai/gpt-4o"
METADATA = {"X-OpenRouter-Metadata": "enabled"}


async def plan_of(product: Product, account: Account, **query: str) -> Any:
    asked = urlencode({"model": MODEL, **query})
    answer = await product.request("GET", f"/byok/plan?{asked}", key=account.management_key)
    assert answer.status == 200, answer.text
    return answer.json["data"]


async def attempts_of(product: Product, account: Account) -> list[tuple[str, str, str | None]]:
    """What a completion really tries, as its own receipt tells."""
    answer = await product.request(
        "POST",
        "/chat/completions",
        key=account.api_key,
        body={"model": MODEL, "messages": [{"role": "user", "content": "words=4"}]},
        headers=METADATA,
    )
    assert answer.status == 200, answer.text
    return [
        (each["endpoint"], each["tier"], each["credential_id"])
        for each in answer.json["openrouter_metadata"]["attempts"]
    ]


def planned(plan: Any) -> list[tuple[str, str, str | None]]:
    return [
        (each["endpoint"], each["tier"], (each["credential"] or {"id": None})["id"])
        for each in plan["attempts"]
    ]


def reasons(plan: Any) -> dict[str, str]:
    """Why each own credential is left out."""
    return {
        each["credential"]["id"]: each["reason"]
        for each in plan["left_out"]
        if each["credential"] is not None
    }


async def test_the_plan_says_what_the_next_completion_does(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=5 * NANO_PER_USD)
    secrets = {name: f"sk-{name}-{account.account_id}" for name in ("cold", "off", "mini", "last")}
    cold = await product.add_credential(account, key=secrets["cold"])
    off = await product.add_credential(account, key=secrets["off"], disabled=True)
    mini = await product.add_credential(
        account, key=secrets["mini"], allowed_models=["openai/gpt-4o-mini"]
    )
    last = await product.add_credential(account, key=secrets["last"], is_fallback=True)
    await product.script(secrets["cold"], [{"kind": "status", "status": 429, "retry_after": "60"}])

    async def knows_all() -> bool:
        plan = await plan_of(product, account)
        return {off["id"], mini["id"]} == reasons(plan).keys()

    await wait_until(knows_all)
    before = await plan_of(product, account)
    assert planned(before)[0] == ("openai/gpt-4o", "prioritized", cold["id"])

    tried = await attempts_of(product, account)

    assert tried == planned(before)[: len(tried)]
    assert [tier for _, tier, _ in tried] == ["prioritized", "shared"]

    async def is_cold() -> bool:
        return reasons(await plan_of(product, account)).get(cold["id"]) == "cooling_down"

    await wait_until(is_cold)
    plan = await plan_of(product, account)
    assert reasons(plan) == {
        cold["id"]: "cooling_down",
        off["id"]: "disabled",
        mini["id"]: "filter",
    }
    (told,) = [each for each in plan["left_out"] if each["reason"] == "cooling_down"]
    assert (told["failure"], told["provider_status"]) == ("rate_limited", 429)
    assert told["credential"] == {"id": cold["id"], "label": cold["label"]}
    left_seconds = (datetime.fromisoformat(told["until"]) - datetime.now(UTC)).total_seconds()  # noqa: TID251 - the real clock is what `until` is told by
    assert 30 < left_seconds <= 60
    (filtered,) = [each for each in plan["left_out"] if each["reason"] == "filter"]
    assert (filtered["filter"], filtered["endpoint"]) == ("model", None)
    assert planned(plan)[0][1] == "shared"
    assert planned(plan)[-1] == ("openai/gpt-4o", "fallback", last["id"])
    shared, fallback = plan["attempts"][0], plan["attempts"][-1]
    assert (shared["credential"], shared["byok_fee"]) == (None, None)
    assert shared["pricing"]["prompt"] == "0.0000025"
    assert fallback["byok_fee"] == {"percent": "5", "waived": True}

    again = await attempts_of(product, account)

    assert again == planned(plan)[:1]
    assert len(await product.provider_calls(secrets["cold"])) == 1
    assert await product.provider_calls(secrets["off"]) == []
    assert await product.provider_calls(secrets["mini"]) == []


async def test_who_forbids_shared_capacity_is_named(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=5 * NANO_PER_USD)
    own = await product.add_credential(account, key=f"sk-{account.account_id}", always_use=True)

    async def is_forbidden() -> bool:
        return [tier for _, tier, _ in planned(await plan_of(product, account))] == ["prioritized"]

    await wait_until(is_forbidden)
    plan = await plan_of(product, account)
    shared = [each for each in plan["left_out"] if each["reason"] == "always_use"]
    assert {each["provider"] for each in shared} >= {"openai"}
    assert all(
        each["forbidden_by"] == [{"id": own["id"], "label": own["label"]}] for each in shared
    )
    only = await plan_of(product, account, byok_only="true")
    assert only["byok_only"] == ["request"]
    assert {each["reason"] for each in only["left_out"] if each["tier"] == "shared"} >= {
        "byok_only"
    }
    await product.operate("account-policy", "--account", account.account_id, "--byok-only", "true")

    async def account_is() -> bool:
        return bool((await plan_of(product, account))["byok_only"] == ["account"])

    await wait_until(account_is)


async def test_the_plan_is_of_the_api_key_that_is_named(product: Product) -> None:
    account = await product.make_account()
    api_key_hash = hash_api_key(account.api_key)
    own = await product.add_credential(
        account, key=f"sk-{account.account_id}", allowed_api_key_hashes=[api_key_hash]
    )

    async def serves() -> bool:
        plan = await plan_of(product, account, api_key_hash=api_key_hash)
        return bool(plan["attempts"]) and plan["attempts"][0]["credential"]["id"] == own["id"]

    await wait_until(serves)
    of_the_manager = await plan_of(product, account)
    (left_out,) = [each for each in of_the_manager["left_out"] if each["credential"]]
    assert (left_out["reason"], left_out["filter"]) == ("filter", "api_key_hash")
