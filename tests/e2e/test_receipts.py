"""Receipts over HTTP: every attempt, whose key, what it cost; and sums that agree with each other."""

import asyncio
import csv
import io
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import openai
import pytest

from deploy.local.places import REPOSITORY
from deploy.product import Account, Answer, Product
from shared.ids import new_generation_id
from shared.money import NANO_PER_USD
from tests.e2e.test_story import FIVE_DOLLARS, list_cost
from tests.support.canary import Search
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

RATE_LIMITED = {"kind": "status", "status": 429, "retry_after": "30"}


def exact(answer: Answer) -> Any:
    """The body with numbers as they stand in it."""
    return json.loads(answer.text, parse_float=Decimal)


async def receipt_of(product: Product, account: Account, generation_id: str) -> Any:
    """The receipt, asked for as soon as the answer is there."""
    answer = await product.request("GET", f"/generation?id={generation_id}", key=account.api_key)
    assert answer.status == 200, answer.text
    return exact(answer)["data"]


def today() -> str:
    return datetime.now(UTC).date().isoformat()  # noqa: TID251 - the stack's own clock


async def test_a_fallback_is_explained_attempt_by_attempt(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secrets = [f"sk-{number}-{account.account_id}" for number in (1, 2)]
    first, second = [
        await product.add_credential(account, key=secret, name=f"key {secret[3]}")
        for secret in secrets
    ]
    await product.script(secrets[0], [RATE_LIMITED])
    answer = await product.complete(account, "words=12")

    receipt = await receipt_of(product, account, answer.headers["X-Generation-Id"])

    failed, answered = receipt["provider_responses"]
    assert (failed["status"], failed["failure"]) == (429, "rate_limited")
    assert (answered["status"], answered["failure"]) == (200, None)
    for attempt, credential in ((failed, first), (answered, second)):
        assert attempt["is_byok"] is True
        assert attempt["credential"] == {
            "id": credential["id"],
            "label": credential["label"],
            "name": credential["name"],
        }
        assert attempt["provider_name"] == "OpenAI"
        assert attempt["latency"] >= 0
        assert Decimal(attempt["pricing"]["prompt"]) == Decimal("0.0000025")
    assert (failed["usage"], answered["usage"]) == (None, "measured")
    assert receipt["credential"]["id"] == second["id"]
    assert receipt["is_byok"] is True
    assert (receipt["total_cost"], receipt["charge"]["kind"]) == (0, "fee_waived")
    assert receipt["upstream_inference_cost"] == list_cost(answer.usage)
    assert receipt["tokens_completion"] == answer.usage["completion_tokens"]
    assert receipt["finish_reason"] == "stop"
    assert secrets[0] not in str(receipt)
    await product.request("DELETE", f"/byok/{second['id']}", key=account.management_key)
    later = await receipt_of(product, account, answer.headers["X-Generation-Id"])
    assert later["credential"] == {"id": second["id"], "label": second["label"], "name": None}


async def test_a_receipt_names_the_answer_and_the_clients_own_user_and_session(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"sk-named-{account.account_id}"
    await product.add_credential(account, key=secret)
    user, session = f"user-{account.account_id}", f"session-{account.account_id}"
    for stream in (False, True):
        answer = await product.complete(
            account, "words=3", stream=stream, user=user, session_id=session
        )
        receipt = await receipt_of(product, account, answer.headers["X-Generation-Id"])
        call = (await product.provider_calls(secret))[-1]
        assert receipt["upstream_id"] == receipt["provider_responses"][-1]["id"] == call["id"]
        assert (receipt["external_user"], receipt["session_id"]) == (user, session)
        assert receipt["api_type"] == "completions"
    embedded = await product.request(
        "POST",
        "/embeddings",
        key=account.api_key,
        body={"model": "openai/text-embedding-3-small", "input": "hello there", "user": user},
        headers={"X-Session-Id": session},
    )
    receipt = await receipt_of(product, account, embedded.headers["X-Generation-Id"])
    assert (receipt["external_user"], receipt["session_id"]) == (user, session)
    assert receipt["api_type"] == "embeddings"
    path = f"/activity?date={today()}"
    rows = exact(await product.request("GET", path, key=account.management_key))["data"]
    assert {(row["api_type"], row["model"], row["requests"]) for row in rows} == {
        ("completions", "openai/gpt-4o", 2),
        ("embeddings", "openai/text-embedding-3-small", 1),
    }
    unnamed = await product.complete(account, "words=3")
    receipt = await receipt_of(product, account, unnamed.headers["X-Generation-Id"])
    assert (receipt["external_user"], receipt["session_id"]) == (None, None)
    # they are the account's to know, not the operators' logs and metrics to keep
    search = Search(product.stack, (user, session), besides=())
    logs = list(product.stack.places.logs.iterdir())
    assert [log.name for log in logs if search.hit(log.read_bytes())] == []
    assert [place async for place in search.metrics()] == []


async def test_a_user_that_is_no_identifier_is_refused_by_its_name(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    wrong: list[dict[str, Any]] = [
        {"user": "two\nlines"},
        {"user": "x" * 257},
        {"session_id": "\x1b"},
    ]
    for fields in wrong:
        (name,) = fields
        refused = await product.complete(account, **fields)
        assert refused.status == 400
        assert refused.json["error"]["message"].startswith(f"{name}: ")


async def test_a_generation_is_nobody_elses(product: Product) -> None:
    account, other = await product.make_account(), await product.make_account()
    await product.add_credential(account, key=f"sk-own-{account.account_id}")
    answer = await product.complete(account)
    path = f"/generation?id={answer.headers['X-Generation-Id']}"

    assert (await product.request("GET", path, key=account.management_key)).status == 200
    assert (await product.request("GET", path, key=other.api_key)).status == 404
    assert (await product.request("GET", path)).status == 401
    assert (await product.request("GET", "/generation", key=account.api_key)).status == 400
    nothing = await product.request("GET", "/generation?id=gen-1", key=account.api_key)
    assert nothing.status == 404
    never = f"/generation?id={new_generation_id()}"
    assert (await product.request("GET", never, key=account.api_key)).status == 404
    for path in ("/credits", "/activity", "/generations"):
        refused = await product.request("GET", path, key=account.api_key)
        assert refused.status == 403, path


async def test_a_client_that_leaves_pays_for_what_came_and_its_receipt_says_estimated(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    client = openai.AsyncOpenAI(base_url=product.base_url, api_key=account.api_key, max_retries=0)
    async with client:
        stream = await client.chat.completions.create(
            model="openai/gpt-4o",
            messages=[{"role": "user", "content": "words=500 pause_ms=20"}],
            stream=True,
        )
        generation_id = stream.response.headers["X-Generation-Id"]
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        await stream.close()

    receipt = await receipt_of(product, account, generation_id)

    assert receipt["cancelled"] is True
    assert receipt["streamed"] is True
    assert receipt["tokens_estimated"] is True
    assert receipt["provider_responses"][0]["usage"] == "estimated"
    assert receipt["charge"]["kind"] == "credits_charged"
    assert 0 < receipt["total_cost"] == receipt["charge"]["list_cost"]
    assert receipt["user_agent"].startswith("AsyncOpenAI/Python")
    assert receipt["latency"] <= receipt["generation_time"]


async def test_usage_that_the_provider_does_not_tell_is_estimated_and_marked(
    product: Product,
) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"sk-own-{account.account_id}"
    await product.add_credential(account, key=secret)
    await product.script(secret, [{"kind": "missing_usage"}])
    answer = await product.complete(account, "words=30", stream=True)

    receipt = await receipt_of(product, account, answer.headers["X-Generation-Id"])

    assert receipt["tokens_estimated"] is True
    assert receipt["provider_responses"][-1]["usage"] == "estimated"


async def test_a_failure_costs_nothing_and_says_why(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS)
    secret = f"sk-own-{account.account_id}"
    credential = await product.add_credential(account, key=secret, always_use=True)
    await product.script(secret, [{"kind": "error_event_after", "chunks": 2}])
    answer = await product.complete(account, stream=True)

    receipt = await receipt_of(product, account, answer.headers["X-Generation-Id"])

    assert receipt["outcome"] == "failed"
    assert receipt["finish_reason"] == "error"
    assert receipt["total_cost"] == 0
    assert receipt["charge"]["kind"] == "nothing"
    (attempt,) = receipt["provider_responses"]
    assert attempt["failure"] == "stream_cut"
    assert attempt["credential"]["id"] == credential["id"]


async def test_receipts_activity_and_credits_agree_to_the_nano_dollar(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS, free_requests=1)
    secret = f"sk-own-{account.account_id}"
    credential = await product.add_credential(account, key=secret, name="=cmd()")
    ids = []
    for words in (10, 20, 30):
        answer = await product.complete(account, f"words={words}")
        ids.append(answer.headers["X-Generation-Id"])
    await product.script(secret, [RATE_LIMITED])
    for words in (40, 50):
        answer = await product.complete(account, f"words={words}", stream=words == 50)
        ids.append(answer.headers["X-Generation-Id"])
    receipts = [await receipt_of(product, account, each) for each in ids]
    key = account.management_key

    rows = exact(await product.request("GET", f"/activity?date={today()}", key=key))["data"]
    divided_path = f"/activity?date={today()}&group_by=credential_id,api_key_hash"
    divided = exact(await product.request("GET", divided_path, key=key))["data"]
    credits_left = exact(await product.request("GET", "/credits", key=key))["data"]
    own_key = exact(await product.request("GET", "/key", key=account.api_key))["data"]

    spent = sum(Decimal(each["total_cost"]) for each in receipts)
    listed = sum(Decimal(each["upstream_inference_cost"] or 0) for each in receipts)
    for found in (rows, divided):
        assert sum(Decimal(each["usage"]) for each in found) == spent
        assert sum(Decimal(each["byok_usage_inference"]) for each in found) == listed
        assert sum(each["requests"] for each in found) == len(receipts)
        for tokens in ("prompt", "completion"):
            total = sum(each[f"tokens_{tokens}"] for each in receipts)
            assert sum(each[f"{tokens}_tokens"] for each in found) == total
    assert len(rows) == 1
    assert {each["credential_id"] for each in divided} == {credential["id"], None}
    assert {each["api_key_hash"] for each in divided} == {receipts[0]["api_key_hash"]}
    assert credits_left["total_credits"] == Decimal(FIVE_DOLLARS) / NANO_PER_USD
    assert credits_left["total_usage"] == spent == own_key["usage"]
    assert credits_left["available"] == credits_left["total_credits"] - spent
    # a day that is not over is no part of the last thirty completed ones
    assert exact(await product.request("GET", "/activity", key=key))["data"] == []
    other = f"/activity?date={today()}&api_key_hash={'0' * 64}"
    assert exact(await product.request("GET", other, key=key))["data"] == []
    table = await product.request("GET", divided_path + "&format=csv", key=key)
    lines = list(csv.DictReader(io.StringIO(table.text)))
    assert {each["credential_name"] for each in lines} == {"'=cmd()", ""}
    assert sum(Decimal(each["usage"]) for each in lines) == spent


async def test_all_receipts_are_exported_page_by_page(product: Product) -> None:
    account = await product.make_account()
    await product.add_credential(account, key=f"sk-own-{account.account_id}")
    ids = []
    for _ in range(3):
        answer = await product.complete(account)
        ids.append(answer.headers["X-Generation-Id"])
    await receipt_of(product, account, ids[-1])
    lines: list[Any] = []
    cursor = ""
    while True:
        path = f"/generations?format=jsonl&limit=2&from={today()}{cursor}"
        page = await product.request("GET", path, key=account.management_key)
        assert page.headers["Content-Type"].startswith("application/x-ndjson")
        lines.extend(json.loads(line) for line in page.text.splitlines())
        if "X-Next-Cursor" not in page.headers:
            break
        cursor = f"&cursor={page.headers['X-Next-Cursor']}"
    table = await product.request(
        "GET", "/generations", key=account.management_key, headers={"Accept": "text/csv"}
    )

    assert [each["id"] for each in lines] == ids
    assert [each["id"] for each in csv.DictReader(io.StringIO(table.text))] == ids
    assert table.headers["Content-Type"] == "text/csv; charset=utf-8"


async def test_the_example_consumer_adds_up_what_each_credential_costs(product: Product) -> None:
    account = await product.make_account(credits_nano_usd=FIVE_DOLLARS, free_requests=0)
    secret = f"sk-own-{account.account_id}"
    credential = await product.add_credential(account, key=secret)
    fees = [(await product.complete(account, f"words={words}")).usage["cost"] for words in (9, 99)]
    await product.script(secret, [RATE_LIMITED])
    charge = (await product.complete(account)).usage["cost"]

    async def told() -> list[str]:
        return (await _run_example(product, account.account_id)).splitlines()

    expected = [
        f"{name} {count} {int(sum(map(_nano, amounts)))}"
        for name, count, amounts in ((credential["id"], 2, fees), ("shared", 1, [charge]))
    ]

    async def is_told() -> bool:
        return await told() == expected

    await wait_until(is_told, deadline_seconds=30)


def _nano(usd: float) -> Decimal:
    return Decimal(str(usd)) * NANO_PER_USD


async def _run_example(product: Product, account_id: str) -> str:
    return await _run(
        product,
        str(REPOSITORY / "docs" / "examples" / "fees_by_credential.py"),
        product.kafka.bootstrap_servers,
        account_id,
    )


async def _run(product: Product, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=REPOSITORY,
        env=product.stack.service_environment("billing"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_a_replay_of_the_running_product_changes_no_receipt(product: Product) -> None:
    account = await product.make_account()
    await product.add_credential(account, key=f"sk-own-{account.account_id}")
    answer = await product.complete(account)
    before = await receipt_of(product, account, answer.headers["X-Generation-Id"])

    output = await _run(
        product, "-m", "services.billing.operations", "replay", "--from", "beginning"
    )

    assert json.loads(output)["receipts"] >= 1
    assert await receipt_of(product, account, answer.headers["X-Generation-Id"]) == before
    after = await product.complete(account)
    assert await receipt_of(product, account, after.headers["X-Generation-Id"])
