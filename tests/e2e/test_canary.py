"""No secret and no prompt stays anywhere: searched for after success and every failure.

A planted positive control, in each kind of place, proves that the search would find it.
"""

import base64
import json
import time
from typing import Final

import asyncpg
import pytest

from deploy.product import Account, Answer, Product
from shared.clock import SystemClock
from shared.events.dead_letters import DeadLettered
from shared.events.topics import DEAD_LETTERS
from shared.ids import new_id, new_instance_id
from shared.kafka.producer import open_producer
from tests.support.canary import Search
from tests.support.credit_secrets import OPERATOR_TOKEN, WEBHOOK_SECRET
from tests.support.pasted_keys import rsa_pem, service_account
from tests.support.stripe_events import event, session, signature

pytestmark = [pytest.mark.connected, pytest.mark.slow, pytest.mark.timeout(240)]

PROMPT: Final = "CanaryPromptQz7Vx2Lm9Kt4"
EMBEDDER: Final = "openai/text-embedding-3-small"
SECRET: Final = "CanarySecretWy8Hb3Np6Rd1"
FAILURES: Final = [
    [{"kind": "status", "status": status}]
    for status in (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503)
] + [
    [{"kind": kind}]
    for kind in (
        "cut_after",
        "end_without_done",
        "error_event_first",
        "error_event_after",
        "missing_usage",
        "empty_completion",
        "garbage",
        "connection_reset",
    )
]


KEPT_ONLY: Final = {
    "amazon-bedrock": {
        "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
        "secretAccessKey": SECRET.ljust(40, "0"),
        "region": "us-east-1",
    },
    "google-vertex": service_account() | {"private_key": rsa_pem() + SECRET},
}


async def embed(product: Product, account: Account, model: str = EMBEDDER) -> Answer:
    """Embeddings of the canary prompt."""
    body = {"model": model, "input": [PROMPT, f"{PROMPT} again"]}
    return await product.request("POST", "/embeddings", key=account.api_key, body=body)


async def every_way(product: Product, account: Account) -> list[Answer]:
    """The canary prompt through every outcome, each with a canary credential of its own."""
    answers: list[Answer] = []
    for number, steps in enumerate(FAILURES):
        secret = f"sk-{SECRET}{number:04d}"
        credential = await product.add_credential(account, key=secret, always_use=True)
        for stream in (False, True):
            await product.script(secret, steps)
            answers.append(await product.complete(account, f"{PROMPT} words=8", stream=stream))
        await product.script(secret, steps)
        answers.append(await embed(product, account))
        answers.append(
            await product.request("DELETE", f"/byok/{credential['id']}", key=account.management_key)
        )
    deployment = product.azure_deployment(
        f"azure-{SECRET}", model_slug="openai/gpt-4o", model_id="gpt-4o"
    )
    resource = {"resource_name": "canary", "api_key": f"azure-whole-{SECRET}"}
    await product.add_credential(account, provider="azure", key=[deployment, resource])
    for provider, key in KEPT_ONLY.items():
        await product.add_credential(account, provider=provider, key=key)
    answers += [
        await product.complete(account, f"{PROMPT} words=8", model=model, stream=stream)
        for model in ("openai/gpt-4o", "openai/gpt-4o-mini")
        for stream in (False, True)
    ]
    return answers


async def bad_input(product: Product, account: Account) -> list[Answer]:
    """Requests refused at the edge, with the canaries inside."""
    broken_azure = {"model_slug": "openai/gpt-4o", "api_key": f"azure-{SECRET}", "extra": SECRET}
    return [
        await product.complete(account, PROMPT, model=f"no/{PROMPT}"),
        await embed(product, account, model=f"no/{PROMPT}"),
        await product.request(
            "POST",
            "/embeddings",
            key=account.api_key,
            body={"model": EMBEDDER, "input": [PROMPT, {"text": PROMPT}]},
        ),
        await product.request(
            "POST",
            "/chat/completions",
            key=account.api_key,
            data=b'{"messages": "' + PROMPT.encode(),
        ),
        await product.request(
            "POST",
            "/byok",
            key=account.management_key,
            body={"provider": "azure", "key": json.dumps(broken_azure)},
        ),
        await product.request(
            "POST",
            "/byok",
            key=account.management_key,
            body={"provider": "openai", "key": f"sk-{SECRET} with spaces"},
        ),
        *[
            await product.request(
                "POST",
                "/byok",
                key=account.management_key,
                body={"provider": provider, "key": {"type": SECRET, "apiKey": SECRET}},
            )
            for provider in ("azure", "amazon-bedrock", "google-vertex")
        ],
        await product.request(
            "POST", "/chat/completions", key=f"sk-or-v1-{SECRET}", body={"messages": []}
        ),
    ]


async def credits_in(product: Product, account: Account) -> list[Answer]:
    """The operators' token and Stripe's secret in use, and beside what is wrong."""
    path, now = f"/operator/accounts/{account.account_id}/credits", int(time.time())  # noqa: TID251
    paid = session("pi_canary", account.account_id, 100)
    body = event("checkout.session.completed", paid, event_id="evt_canary")
    good = signature(body, at=now)
    answers = [
        await product.request(
            "POST", path, key=token, body={"amount": amount}, headers={"Idempotency-Key": "k"}
        )
        for token in (OPERATOR_TOKEN, f"{OPERATOR_TOKEN}x")
        for amount in ("1", OPERATOR_TOKEN)
    ]
    for header in (good, f"{good},v1={WEBHOOK_SECRET}", f"t={now},v1={WEBHOOK_SECRET}"):
        headers = {"Stripe-Signature": header}
        answers.append(
            await product.request("POST", "/webhooks/stripe", data=body, headers=headers)
        )
    return answers


def search_of(product: Product, *words: str) -> Search:
    # the provider's own log names the credentials that it was shown
    simulator = product.stack.places.logs / "simulator.log"
    options = product.stack.places.options  # what the stack was told, readable by its owner alone
    besides = {simulator, options, *product.stack.places.root.rglob("*calls*.jsonl")}
    return Search(product.stack, [PROMPT, SECRET, *words], besides=besides)


async def test_no_secret_and_no_prompt_is_kept_or_shown_anywhere(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=5 * 10**9)
    answers = await every_way(product, account)
    refused = await bad_input(product, account)
    moved = await credits_in(product, account)

    assert [answer.status for answer in moved] == [200, 400, 401, 401, 200, 200, 400]
    for answer in moved:
        assert OPERATOR_TOKEN not in answer.text
        assert WEBHOOK_SECRET not in answer.text
    assert any(answer.status == 200 for answer in answers)
    assert all(400 <= answer.status < 500 for answer in refused), [a.status for a in refused]
    for answer in [*answers, *refused]:
        assert SECRET not in answer.text
        assert account.api_key not in answer.text
    for answer in answers:
        assert PROMPT not in answer.text
    secrets = (account.api_key, account.management_key, OPERATOR_TOKEN, WEBHOOK_SECRET)
    found = await search_of(product, *secrets).everywhere()
    assert not found


async def test_the_search_would_find_it(product: Product) -> None:
    search = search_of(product)
    stack = product.stack
    planted = stack.places.logs / "planted.log"
    planted.write_bytes(b"before " + base64.b64encode(b"xy" + SECRET.encode() + b"z") + b" after")
    connection = await asyncpg.connect(stack.manifest["postgres"]["billing"])
    async with open_producer(
        product.kafka, source=new_instance_id("test", 0), clock=SystemClock(), new_id=new_id
    ) as producer:
        try:
            await connection.execute("create table planted(word text)")
            await connection.execute("insert into planted values ($1)", PROMPT.encode().hex())
            await producer.emit(
                DEAD_LETTERS,
                DeadLettered(
                    topic="t",
                    partition=0,
                    offset=0,
                    consumer="c",
                    reason=PROMPT,
                    dead_at=SystemClock().now(),
                ),
                key="k",
            )

            found = await search.everywhere()
        finally:
            planted.unlink()
            await connection.execute("drop table planted")
            await connection.close()

    assert any(str(planted) in place for place in found)
    assert any(place.startswith("table billing") for place in found)
    assert any(place.startswith("topic dead-letters") for place in found)
    assert any("dead-letters-0" in place and place.endswith(".log") for place in found)
