"""`make catalog-publish` on a running stack: what is published holds for the next completion."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from deploy.local.places import REPOSITORY
from deploy.product import Product
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

CATALOG = REPOSITORY / "deploy" / "catalog"
PARROT = "acme/parrot-1"
SECONDS_MAX = 20


async def publish(product: Product, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "deploy.catalog", "publish"),
        *("--folder", str(folder), "--kafka", product.kafka.bootstrap_servers),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS_MAX):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


def parrot(prompt: str, completion: str) -> dict[str, Any]:
    model: dict[str, Any] = yaml.safe_load((CATALOG / "openai-gpt-4o-mini.yaml").read_text())
    model |= {"slug": PARROT, "name": "Acme: Parrot", "description": "Repeats what it hears."}
    model["endpoints"] = model["endpoints"][:1]
    model["endpoints"][0]["prices"] = {"prompt": prompt, "completion": completion}
    return model


@pytest_asyncio.fixture
async def folder(product: Product, tmp_path: Path) -> AsyncIterator[Path]:
    """The shipped catalog to add to; what was added is gone again afterwards."""
    copy = tmp_path / "catalog"
    copy.mkdir()
    for path in CATALOG.glob("*.yaml"):
        shutil.copy(path, copy)
    yield copy
    await publish(product, CATALOG)


async def listed(product: Product) -> dict[str, Any]:
    async with product.session.get(f"{product.base_url}/models") as response:
        assert response.status == 200
        return {model["id"]: model for model in (await response.json())["data"]}


async def until_listed_at(product: Product, prompt: str | None) -> None:
    """Wait until the ingress lists the model at a price, or no more."""

    async def is_so() -> bool:
        model = (await listed(product)).get(PARROT)
        return (None if model is None else model["pricing"]["prompt"]) == prompt

    await wait_until(is_so, deadline_seconds=SECONDS_MAX)


async def test_a_price_or_a_model_changes_without_a_restart(product: Product, folder: Path) -> None:
    file = folder / "acme-parrot-1.yaml"
    account = await product.make_account()
    await product.add_credential(account, key=f"sk-parrot-{account.account_id}")

    async def list_cost() -> tuple[Decimal, int, int]:
        answer = await product.complete(account, "words=10", model=PARROT)
        assert answer.status == 200, answer.text
        usage = answer.usage
        cost = Decimal(str(usage["cost_details"]["upstream_inference_cost"]))
        return cost, usage["prompt_tokens"], usage["completion_tokens"]

    file.write_text(yaml.safe_dump(parrot("0.000001", "0.000002")))
    assert (await publish(product, folder)).startswith("catalog: 1 published, 0 removed, ")
    await until_listed_at(product, "0.000001")
    cost, prompt, completion = await list_cost()
    assert cost == prompt * Decimal("0.000001") + completion * Decimal("0.000002")

    file.write_text(yaml.safe_dump(parrot("0.000003", "0.000007")))
    assert (await publish(product, folder)).startswith("catalog: 1 published, 0 removed, ")
    await until_listed_at(product, "0.000003")

    # The dispatcher reads the topic on its own: it may be a moment behind the ingress.
    async def is_priced_anew() -> bool:
        cost, prompt, completion = await list_cost()
        return cost == prompt * Decimal("0.000003") + completion * Decimal("0.000007")

    await wait_until(is_priced_anew, deadline_seconds=SECONDS_MAX)

    file.unlink()
    assert (await publish(product, folder)).startswith("catalog: 0 published, 1 removed, ")
    await until_listed_at(product, None)
    gone = await product.complete(account, "words=10", model=PARROT)
    assert gone.status == 400
    assert f"{PARROT} is not a known model" in gone.text


async def test_the_whole_catalog_is_what_clients_of_openrouter_can_read(product: Product) -> None:
    models = await listed(product)

    assert len(models) >= 40
    for model in models.values():
        assert model["context_length"] > 0
        assert Decimal(model["pricing"]["prompt"]) >= 0
        assert Decimal(model["pricing"]["completion"]) >= 0
        assert model["architecture"]["output_modalities"] == ["text"]
        assert model["top_provider"]["max_completion_tokens"] > 0
        assert model["supported_parameters"]
        path = product.base_url.removesuffix("/api/v1") + model["links"]["details"]
        async with product.session.get(path) as response:
            assert response.status == 200
            assert (await response.json())["data"]["endpoints"]
