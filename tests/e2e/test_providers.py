"""Amazon Bedrock, Google Vertex and Anthropic through the whole product: own keys, and shared capacity."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.local.service_account import new_service_account
from deploy.product import Account, Answer, Product
from shared.money import NANO_PER_USD
from tests.simulator.bedrock_auth import secret_of

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

CLAUDE = "anthropic/claude-haiku-4.5"
GEMINI = "google/gemini-3.5-flash"


def bedrock_key(account: Account) -> str:
    return "ABSK" + account.account_id.replace("-", "")


def aws_keys(account: Account) -> dict[str, str]:
    access_key_id = "AKIA" + account.account_id.replace("-", "").upper()[-16:]
    return {
        "accessKeyId": access_key_id,
        "secretAccessKey": secret_of(access_key_id),
        "region": "eu-central-1",
    }


async def google_account(product: Product, account: Account) -> dict[str, Any]:
    made = await asyncio.to_thread(new_service_account, f"own-{account.account_id}")
    await product.make_known(made)
    return made


async def pasted(product: Product, account: Account, form: str) -> tuple[str, Any, str]:
    """The provider, what is pasted, and what the provider knows it by."""
    match form:
        case "bedrock api key":
            key = bedrock_key(account)
            return "amazon-bedrock", key, key
        case "aws credentials":
            keys = aws_keys(account)
            return "amazon-bedrock", keys, keys["accessKeyId"]
        case _:
            google = await google_account(product, account)
            return "google-vertex", google, google["client_email"]


async def ask(product: Product, account: Account, model: str, provider: str, **more: Any) -> Answer:
    answer = await product.complete(
        account, "words=7", model=model, provider={"only": [provider]}, **more
    )
    assert answer.status == 200, answer.text
    assert len(answer.content.split()) == 7
    return answer


@pytest.mark.parametrize(
    ("form", "model", "called"),
    [
        ("bedrock api key", CLAUDE, "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("bedrock api key", "amazon/nova-lite-v1", "us.amazon.nova-lite-v1:0"),
        ("aws credentials", CLAUDE, "eu.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("service account", GEMINI, "gemini-3.5-flash"),
        ("service account", CLAUDE, "claude-haiku-4-5@20251001"),
        ("service account", "openai/gpt-oss-120b", "openai/gpt-oss-120b-maas"),
    ],
)
async def test_an_own_key_of_each_format_serves_whole_and_streamed(
    product: Product, form: str, model: str, called: str
) -> None:
    account = await product.make_account()
    provider, key, known_by = await pasted(product, account, form)

    saved = await product.add_credential(account, provider=provider, key=key, always_use=True)
    answers = [await ask(product, account, model, provider, stream=each) for each in (False, True)]

    assert saved["check"]["status"] == "ok"
    assert [answer.usage["is_byok"] for answer in answers] == [True, True]
    calls = await product.provider_calls(known_by)
    assert [(call["model"], call["outcome"]) for call in calls] == [(called, "completed")] * 2


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", CLAUDE),
        ("amazon-bedrock", CLAUDE),
        ("google-vertex", CLAUDE),
        ("google-vertex", GEMINI),
        ("google-ai-studio", GEMINI),
    ],
)
async def test_shared_capacity_serves_at_each_provider_for_its_list_price(
    product: Product, provider: str, model: str
) -> None:
    account = await product.make_account(credits_nano_usd=5 * NANO_PER_USD)

    for stream in (False, True):
        usage = (await ask(product, account, model, provider, stream=stream)).usage
        assert usage["is_byok"] is False
        assert usage["cost"] > 0


@pytest.mark.parametrize(
    ("form", "model"), [("aws credentials", CLAUDE), ("service account", GEMINI)]
)
async def test_an_operator_replaces_shared_capacity_and_it_serves(
    product: Product, tmp_path: Path, form: str, model: str
) -> None:
    account = await product.make_account(credits_nano_usd=5 * NANO_PER_USD)
    provider, key, known_by = await pasted(product, account, form)
    await store(product, tmp_path / "credential", provider, key)

    answer = await ask(product, account, model, provider)

    assert answer.usage["is_byok"] is False
    assert [call["outcome"] for call in await product.provider_calls(known_by)] == ["completed"]


async def store(product: Product, file: Path, provider: str, key: Mapping[str, Any]) -> None:
    await asyncio.to_thread(file.write_text, json.dumps(key), encoding="utf-8")
    printed = await product.operate(
        "platform-credential", "--provider", provider, "--file", str(file)
    )
    assert json.loads(printed.splitlines()[-1])["provider"] == provider
