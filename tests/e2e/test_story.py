"""What the mission promises, as its users meet it: over HTTP, with events read from Kafka."""

import asyncio
from decimal import Decimal
from typing import Any

import openai
import pytest

from deploy.product import Account, Product
from deploy.tap import Tap, tap
from shared.events.codec import Received
from shared.events.fees import CreditsCharged, FeeDeducted, FeeWaived
from shared.events.routing import FallbackDecided
from shared.events.topics import BILLING_FEES, ROUTING_FALLBACKS
from shared.money import NANO_PER_USD
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

FIVE_DOLLARS = 5 * NANO_PER_USD
GPT_4O_PROMPT = Decimal("0.0000025")
GPT_4O_COMPLETION = Decimal("0.00001")


def list_cost(usage: dict[str, int]) -> Decimal:
    """The list cost of a gpt-4o generation without cached tokens, worked out with decimal."""
    return usage["prompt_tokens"] * GPT_4O_PROMPT + usage["completion_tokens"] * GPT_4O_COMPLETION


def of(account: Account, kind: type) -> "Wanted":
    return Wanted(account, kind)


class Wanted:
    """An event of one account and one type."""

    def __init__(self, account: Account, kind: type) -> None:
        self.account = account
        self.kind = kind

    def __call__(self, received: Received) -> bool:
        event = received.event
        return (
            isinstance(event, self.kind)
            and getattr(event, "account_id", None) == self.account.account_id
        )


async def fallback_of(events: Tap, account: Account) -> FallbackDecided:
    event = (await events.wait_for(of(account, FallbackDecided))).event
    assert isinstance(event, FallbackDecided)
    return event


@pytest.mark.parametrize("stream", [False, True])
async def test_an_accounts_own_azure_deployment_serves_and_the_fee_is_waived(
    product: Product, *, stream: bool
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"azure-own-{account.account_id}"
    credential = await product.add_credential(
        account,
        provider="azure",
        key=[
            product.azure_deployment(secret, model_slug="openai/gpt-4o", model_id="gpt-4o"),
            product.azure_deployment(
                secret, model_slug="mistralai/mistral-large", model_id="mistral-large"
            ),
        ],
    )
    async with tap(product.kafka, [BILLING_FEES]) as events:
        answer = await product.complete(account, "say words=12", stream=stream)

        assert answer.status == 200, answer.text
        assert len(answer.content.split()) == 12
        assert answer.headers["X-Generation-Id"].startswith("gen-")
        assert answer.usage["is_byok"] is True
        assert answer.usage["cost"] == 0
        assert Decimal(str(answer.usage["cost_details"]["upstream_inference_cost"])) == (
            list_cost(answer.usage)
        )
        waived = (await events.wait_for(of(account, FeeWaived))).event
    assert isinstance(waived, FeeWaived)
    assert waived.generation_id == answer.headers["X-Generation-Id"]
    assert waived.credential_id == credential["id"]
    assert waived.credits_nano_usd == FIVE_DOLLARS
    assert waived.list_cost_nano_usd == list_cost(answer.usage) * NANO_PER_USD
    calls = await product.provider_calls(secret)
    assert [(call["wire"], call["outcome"]) for call in calls] == [("azure", "completed")]


async def test_a_single_azure_object_works_as_well_as_an_array(product: Product) -> None:
    account = await product.make_account()
    deployment = product.azure_deployment(
        "azure-single", model_slug="mistralai/mistral-large", model_id="mistral-large"
    )
    await product.add_credential(account, provider="azure", key=deployment)

    answer = await product.complete(account, model="mistralai/mistral-large")

    assert answer.status == 200, answer.text
    assert answer.json["provider"] == "Azure"


async def test_beyond_the_allotment_the_fee_is_a_percentage_taken_from_credits(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS, free_requests=1)
    await product.add_credential(account, key=f"sk-own-{account.account_id}")

    async with tap(product.kafka, [BILLING_FEES]) as events:
        first = await product.complete(account, "words=10")
        second = await product.complete(account, "words=100")
        deducted = (await events.wait_for(of(account, FeeDeducted))).event

    assert isinstance(deducted, FeeDeducted)
    assert first.usage["cost"] == 0
    fee = list_cost(second.usage) * 5 / 100
    assert Decimal(str(second.usage["cost"])) == fee
    assert deducted.fee_nano_usd == fee * NANO_PER_USD
    assert deducted.fee_percent == 5
    assert deducted.credits_nano_usd == FIVE_DOLLARS - fee * NANO_PER_USD
    assert deducted.generation_id == second.headers["X-Generation-Id"]


async def test_a_rate_limited_key_gives_way_to_the_next_key_and_then_to_credits(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    first_secret, second_secret = f"sk-1-{account.account_id}", f"sk-2-{account.account_id}"
    first = await product.add_credential(account, key=first_secret)
    second = await product.add_credential(account, key=second_secret)
    await product.script(first_secret, [{"kind": "status", "status": 429, "retry_after": "30"}])

    async with tap(product.kafka, [ROUTING_FALLBACKS, BILLING_FEES]) as events:
        answer = await product.complete(account)

        assert answer.status == 200, answer.text
        assert answer.usage["is_byok"] is True
        fallback = await fallback_of(events, account)
        assert fallback.from_.credential_id == first["id"]
        assert fallback.to.credential_id == second["id"]
        assert fallback.reason == "rate_limited"
        assert fallback.provider_status == 429

    await product.script(second_secret, [{"kind": "status", "status": 500}])
    async with tap(product.kafka, [ROUTING_FALLBACKS, BILLING_FEES]) as events:
        answer = await product.complete(account)

        assert answer.status == 200, answer.text
        assert answer.usage["is_byok"] is False
        assert Decimal(str(answer.usage["cost"])) == list_cost(answer.usage)
        fallback = await fallback_of(events, account)
        assert fallback.to.tier == "shared"
        assert fallback.to.credential_id is None
        charged = (await events.wait_for(of(account, CreditsCharged))).event
        assert isinstance(charged, CreditsCharged)
        assert charged.charge_nano_usd == list_cost(answer.usage) * NANO_PER_USD
    # the first key is cooling down: it was asked once, not twice
    assert len(await product.provider_calls(first_secret)) == 1


async def test_always_use_this_key_lets_its_429_reach_the_client(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"sk-always-{account.account_id}"
    await product.add_credential(account, key=secret, always_use=True)
    await product.script(secret, [{"kind": "status", "status": 429, "retry_after": "7"}])

    answer = await product.complete(account)

    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 7
    assert answer.json["error"]["code"] == 429
    assert answer.json["error"]["metadata"]["provider_name"] == "OpenAI"


async def test_without_credits_shared_capacity_is_refused_with_what_is_missing(
    product: Product,
) -> None:
    account = await product.make_account()

    answer = await product.complete(account)

    assert answer.status == 402
    assert answer.json["error"]["metadata"]["error_type"] == "payment_required"


async def test_byok_only_keeps_an_account_away_from_credits(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    answer = await product.complete(account, provider={"byok_only": True})

    assert answer.status == 404
    assert "error" in answer.json


async def test_a_deleted_key_is_never_used_again(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"sk-deleted-{account.account_id}"
    credential = await product.add_credential(account, key=secret)
    await product.complete(account)

    gone = await product.request("DELETE", f"/byok/{credential['id']}", key=account.management_key)
    after = await product.complete(account)

    assert gone.json == {"deleted": True}
    assert after.usage["is_byok"] is False
    assert len(await product.provider_calls(secret)) == 1


@pytest.mark.parametrize(
    "step",
    [
        {"kind": "cut_after", "chunks": 3},
        {"kind": "end_without_done", "chunks": 3},
        {"kind": "error_event_after", "chunks": 3},
    ],
    ids=lambda step: step["kind"],
)
async def test_a_stream_that_breaks_after_its_first_token_ends_in_an_error_and_costs_nothing(
    product: Product, step: dict[str, object]
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS, free_requests=0)
    secret = f"sk-broken-{account.account_id}"
    await product.add_credential(account, key=secret)
    await product.script(secret, [step])

    answer = await product.complete(account, "words=20", stream=True)

    assert answer.status == 200
    last = answer.chunks[-1]
    assert isinstance(last["error"]["code"], int)
    assert last["choices"][0]["finish_reason"] == "error"
    assert not any("usage" in chunk for chunk in answer.chunks)
    key = await product.request("GET", "/key", key=account.api_key)
    assert key.json["data"]["byok_usage"] == 0


async def test_an_error_before_the_first_token_falls_back_unseen(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"sk-first-{account.account_id}"
    await product.add_credential(account, key=secret)
    await product.script(secret, [{"kind": "error_event_first"}])

    answer = await product.complete(account, "words=9", stream=True)

    assert answer.status == 200
    assert len(answer.content.split()) == 9
    assert answer.usage["is_byok"] is False


async def test_the_official_client_completes_streams_and_understands_errors(
    product: Product,
) -> None:
    account = await product.make_account()
    await product.add_credential(account, key=f"sk-client-{account.account_id}")
    async with openai.AsyncOpenAI(
        base_url=product.base_url, api_key=account.api_key, max_retries=0
    ) as client:
        completion = await client.chat.completions.create(
            model="openai/gpt-4o", messages=[{"role": "user", "content": "words=5"}]
        )
        stream = await client.chat.completions.create(
            model="openai/gpt-4o",
            messages=[{"role": "user", "content": "words=6"}],
            stream=True,
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        models = await client.models.list()
        with pytest.raises(openai.BadRequestError, match="model"):
            await client.chat.completions.create(
                model="no/such-model", messages=[{"role": "user", "content": "x"}]
            )
    async with openai.AsyncOpenAI(
        base_url=product.base_url, api_key="sk-or-v1-unknown", max_retries=0
    ) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.chat.completions.create(
                model="openai/gpt-4o", messages=[{"role": "user", "content": "x"}]
            )

    assert len((completion.choices[0].message.content or "").split()) == 5
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 5
    assert len("".join(pieces).split()) == 6
    assert {"openai/gpt-4o", "openai/gpt-4o-mini"} <= {model.id for model in models.data}


async def test_tools_pass_both_ways(product: Product) -> None:
    account = await product.make_account()
    await product.add_credential(account, key=f"sk-tools-{account.account_id}")
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}

    answer = await product.complete(account, "use the tool", tools=[tool])

    choice = answer.json["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "look_up"


async def test_a_save_can_wait_for_the_check_of_its_key(product: Product) -> None:
    account = await product.make_account()
    good = await _save(product, account, f"sk-good-{account.account_id}")
    assert good["check"]["status"] == "ok"
    secret = f"sk-revoked-{account.account_id}"
    await product.script(secret, [{"kind": "status", "status": 401}])
    revoked = await _save(product, account, secret)
    assert (revoked["check"]["status"], revoked["check"]["provider_status"]) == ("refused", 401)
    assert "Make a new one at the provider" in revoked["check"]["message"]
    await product.script(secret, [{"kind": "ok"}])
    again = await product.request(
        "POST", f"/byok/{revoked['id']}/check", key=account.management_key
    )
    assert again.json["data"]["check"]["status"] == "ok"


async def test_each_azure_deployment_has_a_check_of_its_own(product: Product) -> None:
    account = await product.make_account()
    secret = f"azure-checked-{account.account_id}"
    key = [
        product.azure_deployment(secret, model_slug="openai/gpt-4o", model_id="gpt-4o"),
        product.azure_deployment(
            secret, model_slug="mistralai/mistral-large", model_id="missing-large"
        ),
    ]
    saved = await _save(product, account, key, provider="azure")
    assert saved["check"]["status"] == "refused"
    assert [(each["model_id"], each["status"]) for each in saved["check"]["deployments"]] == [
        ("gpt-4o", "ok"),
        ("missing-large", "refused"),
    ]


async def test_health_tells_of_use_errors_and_fees(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS, free_requests=1)
    limited = await product.add_credential(
        account, key=f"sk-limited-429-{account.account_id}", sort_order=0
    )
    serving = await product.add_credential(
        account, key=f"sk-serving-{account.account_id}", sort_order=1
    )
    async with tap(product.kafka, [BILLING_FEES]) as events:
        for _ in range(3):
            assert (await product.complete(account, "words=100")).status == 200

        def all_booked() -> bool:
            booked = [each.event for each in events.seen if of(account, FeeDeducted)(each)]
            return len(booked) == 2

        await wait_until(all_booked, deadline_seconds=20)
        fees = sum(
            each.event.fee_nano_usd
            for each in events.seen
            if isinstance(each.event, FeeDeducted) and of(account, FeeDeducted)(each)
        )
    async with asyncio.timeout(20):
        while True:
            health = {each["id"]: each["health"] for each in await _listed(product, account)}
            if (
                health[serving["id"]]["requests"] == 3
                and health[serving["id"]]["last_success_at"]
                and health[limited["id"]]["last_error"]
            ):
                break
    assert health[serving["id"]]["fees_nano_usd"] == fees > 0
    assert health[serving["id"]]["last_error"] is None
    error = health[limited["id"]]["last_error"]
    assert (error["class"], error["provider_status"]) == ("rate_limited", 429)
    assert error["endpoint"] == "openai/gpt-4o"
    assert (health[limited["id"]]["requests"], health[limited["id"]]["last_success_at"]) == (
        0,
        None,
    )


async def _save(product: Product, account: Account, key: Any, provider: str = "openai") -> Any:
    answer = await product.request(
        "POST",
        "/byok?check=wait",
        key=account.management_key,
        body={"provider": provider, "key": key},
    )
    assert answer.status == 201, answer.text
    return answer.json["data"]


async def _listed(product: Product, account: Account) -> Any:
    answer = await product.request("GET", "/byok", key=account.management_key)
    return answer.json["data"]
