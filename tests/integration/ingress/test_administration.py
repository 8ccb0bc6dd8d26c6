"""/byok, /key, /models and the operators' command line on the real servers."""

import asyncio
import getpass
import json
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.ingress.domain.client_address import networks
from services.ingress.operations import accounts, api_keys, credit, platform_credential
from services.ingress.operations.command_line import main
from services.ingress.operations.connections import open_connections
from services.ingress.operations.outcomes import BadInput
from shared.clock import SystemClock
from shared.events.accounts import SharedLimit
from shared.events.credential_audit import Actor
from shared.events.replies import ReplyFailed
from shared.ids import PLATFORM_ACCOUNT, hash_api_key, month_of, new_id
from tests.conftest import Infrastructure
from tests.integration.ingress.conftest import (
    EMBEDDING,
    MODEL,
    Account,
    World,
    make_account,
    running,
)
from tests.integration.ingress.scripted_dispatcher import Run
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = "sk-canary-0123456789abcdef"


async def call(world: World, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with world.http.request(
        method,
        f"{world.base_url}{path}",
        json=body,
        headers=world.account.management_headers,
    ) as response:
        return response.status, await response.json()


async def test_a_credential_is_added_read_changed_listed_and_deleted(world: World) -> None:
    status, body = await call(
        world,
        "POST",
        "/byok",
        {
            "provider": "azure",
            "key": [{"api_key": CANARY}],
            "name": "mine",
            "note": "for the night shift",
            "is_fallback": True,
            "always_use": True,
            "sort_order": 3,
            "allowed_models": [MODEL],
        },
    )
    assert status == 201, body
    kept = body["data"]
    assert kept["provider"] == "azure"
    assert kept["is_fallback"] is True
    assert kept["always_use"] is True
    assert kept["disabled"] is False
    assert kept["sort_order"] == 3
    assert kept["allowed_models"] == [MODEL]
    assert kept["workspace_id"] is None
    assert set(kept) == {
        *("is_required", "is_byok_only", "declared_region", "declared_zdr"),
        *("id", "provider", "workspace_id", "label", "name", "disabled", "is_fallback"),
        *("allowed_models", "allowed_api_key_hashes", "allowed_user_ids", "sort_order"),
        *("created_at", "always_use", "note", "check", "health"),
    }
    path = f"/byok/{kept['id']}"
    status, body = await call(
        world, "PATCH", path, {"disabled": True, "name": None, "note": None, "allowed_models": None}
    )
    assert status == 200, body
    assert body["data"]["disabled"] is True
    assert body["data"]["name"] is None
    assert kept["note"] == "for the night shift"
    assert body["data"]["note"] is None
    assert body["data"]["allowed_models"] is None
    assert body["data"]["always_use"] is True
    status, body = await call(world, "GET", "/byok?provider=azure&limit=1")
    assert (status, body["total_count"]) == (200, 1)
    assert (await call(world, "GET", path))[1]["data"]["id"] == kept["id"]
    assert await call(world, "DELETE", path) == (200, {"deleted": True})
    status, body = await call(world, "GET", path)
    assert (status, body["error"]["code"]) == (404, 404)


async def test_a_pasted_key_is_ciphertext_before_it_reaches_kafka(world: World) -> None:
    status, body = await call(world, "POST", "/byok", {"provider": "openai", "key": CANARY})
    assert status == 201
    sealed = world.books.sealed_keys[-1]
    assert sealed.startswith("vault:v")
    assert CANARY not in sealed
    assert CANARY not in json.dumps(body)


async def test_a_save_waits_for_its_check_only_when_asked_to(world: World) -> None:
    form = {"provider": "openai", "key": CANARY}
    status, body = await call(world, "POST", "/byok", form)
    assert (status, body["data"]["check"]["status"]) == (201, "pending")
    status, body = await call(world, "POST", "/byok?check=wait", form)
    assert (status, body["data"]["check"]["status"]) == (201, "refused")
    assert body["data"]["check"]["provider_status"] == 401
    assert "refuses the key" in body["data"]["check"]["message"]
    status, body = await call(world, "POST", "/byok?check=yes", form)
    assert (status, body["error"]["metadata"]["field"]) == (400, "check")


async def test_a_check_on_demand_answers_with_its_result(world: World) -> None:
    _, body = await call(world, "POST", "/byok", {"provider": "openai", "key": CANARY})
    path = f"/byok/{body['data']['id']}"
    status, body = await call(world, "POST", f"{path}/check")
    assert (status, body["data"]["check"]["status"]) == (200, "refused")
    status, body = await call(world, "PATCH", f"{path}?check=wait", {"name": "new"})
    assert (status, body["data"]["check"]["status"]) == (200, "refused")
    assert (await call(world, "POST", f"/byok/{new_id()}/check"))[0] == 404
    assert (await call(world, "GET", f"{path}/check"))[0] == 405


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no key": ({"provider": "openai"}, "key: is required"),
    "empty key": ({"provider": "openai", "key": " "}, "key: must not be empty"),
    "number": ({"provider": "openai", "key": 5}, "key: expected string, object or array"),
    "provider": (
        {"provider": "nobody", "key": "k"},
        "provider: expected one of amazon-bedrock, azure, google-vertex, openai",
    ),
    "unknown field": ({"provider": "openai", "key": "k", "colour": 1}, "colour: there is no such"),
    "model": (
        {"provider": "openai", "key": "k", "allowed_models": ["openai/gpt-4q"]},
        "allowed_models[0]: openai/gpt-4q is not a known model",
    ),
    "no models": ({"provider": "openai", "key": "k", "allowed_models": []}, "allowed_models"),
    "no hashes": (
        {"provider": "openai", "key": "k", "allowed_api_key_hashes": []},
        "allowed_api_key_hashes",
    ),
    "bad hash": (
        {"provider": "openai", "key": "k", "allowed_api_key_hashes": ["A" * 64]},
        "allowed_api_key_hashes[0]",
    ),
    "another's hash": (
        {"provider": "openai", "key": "k", "allowed_api_key_hashes": ["0" * 64]},
        "allowed_api_key_hashes[0]: is not one of this account's API keys",
    ),
    "not a member": (
        {"provider": "openai", "key": "k", "allowed_user_ids": [new_id()]},
        "allowed_user_ids[0]: is not a member",
    ),
    "long note": ({"provider": "openai", "key": "k", "note": "x" * 1001}, "note"),
    "long name": ({"provider": "openai", "key": "k", "name": "x" * 256}, "name"),
    "workspace": ({"provider": "openai", "key": "k", "workspace_id": "w"}, "workspace_id"),
    "order": ({"provider": "openai", "key": "k", "sort_order": -1}, "sort_order"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_bad_credential_is_refused_by_field_and_not_kept(world: World, name: str) -> None:
    sent, expected = REFUSED[name]
    before = len(world.books.credentials)
    status, body = await call(world, "POST", "/byok", sent)
    assert status == 400, body
    assert expected in body["error"]["message"]
    assert len(world.books.credentials) == before


async def test_ids_that_are_none_or_another_s_are_not_found(world: World) -> None:
    other = await make_account(world.operations, "other")
    async with world.http.post(
        f"{world.base_url}/byok",
        json={"provider": "openai", "key": "k"},
        headers=other.management_headers,
    ) as response:
        theirs = (await response.json())["data"]["id"]
    for each in (theirs, "x", "%00", new_id()):
        status, body = await call(world, "GET", f"/byok/{each}")
        assert (status, body["error"]["code"]) == (404, 404)
        for method, sent in (("DELETE", None), ("PATCH", {"disabled": True})):
            status, body = await call(world, method, f"/byok/{each}", sent)
            assert (status, body["error"]["code"]) == (404, 404)


SOME_ID = "0199c0de-0000-7000-8000-000000000001"
ROUTES = (
    ("GET", "/byok"),
    ("POST", "/byok"),
    ("PUT", "/byok/order"),
    ("GET", f"/byok/{SOME_ID}"),
    ("PATCH", f"/byok/{SOME_ID}"),
    ("DELETE", f"/byok/{SOME_ID}"),
)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_management_key_is_needed_everywhere(world: World, method: str, path: str) -> None:
    for headers, expected in (
        (world.account.headers, (403, "permission_denied")),
        ({}, (401, "authentication")),
        ({"Authorization": f"Bearer sk-or-v1-{'0' * 64}"}, (401, "authentication")),
    ):
        url = f"{world.base_url}{path}"
        async with world.http.request(method, url, json={}, headers=headers) as response:
            error = (await response.json())["error"]
        assert (error["code"], error["metadata"]["error_type"]) == expected
        assert response.status == expected[0]
        if expected[0] == 403:
            assert "management" in error["message"].lower()


async def test_an_order_is_set_by_one_call_and_its_path_is_no_credentials(world: World) -> None:
    ids = [new_id(), new_id(), new_id()]
    sent = {"provider": "openai", "prioritized": ids[1:], "fallback": ids[:1]}
    assert await call(world, "PUT", "/byok/order", sent) == (200, {"data": sent})
    status, body = await call(world, "PUT", "/byok/order", sent | {"fallback": ["x"]})
    assert (status, body["error"]["metadata"]["field"]) == (400, "fallback[0]")
    for method in ("GET", "PATCH", "DELETE"):
        status, body = await call(world, method, "/byok/order", {})
        assert status == 405, body


async def test_each_command_says_who_gave_it_and_from_where(world: World) -> None:
    headers = world.account.management_headers | {
        "User-Agent": "terraform/1.9 " + "x" * 500,
        "X-Forwarded-For": "203.0.113.9",
    }
    before = len(world.books.actors)
    path, url = f"/byok/{new_id()}", world.base_url
    order = {"provider": "openai", "prioritized": [new_id()]}
    for method, where, sent in (
        ("POST", "/byok", {"provider": "openai", "key": CANARY}),
        ("PATCH", path, {"disabled": True}),
        ("DELETE", path, None),
        ("PUT", "/byok/order", order),
    ):
        async with world.http.request(method, url + where, json=sent, headers=headers) as response:
            assert response.status in {200, 201, 404}
    actors = world.books.actors[before:]
    assert len(actors) == 4
    for actor in actors:
        assert actor is not None
        assert actor.kind == "management_key"
        assert actor.api_key_hash == hash_api_key(world.account.management_key)
        assert actor.member_id is not None
        assert actor.client_address == "127.0.0.1"  # nobody trusts the header here
        assert actor.user_agent is not None
        assert actor.user_agent.startswith("terraform/1.9 xxx")
        assert len(actor.user_agent) == 200


async def test_a_client_behind_a_trusted_proxy_is_told_by_its_own_address(
    world: World,
) -> None:
    http = replace(world.config.http, trusted_proxies=networks("127.0.0.0/8"))
    headers = world.account.management_headers | {"X-Forwarded-For": "1.2.3.4, 203.0.113.9"}
    config = replace(
        world.config, http=http, process=replace(world.config.process, instance_ordinal=1)
    )
    async with running(config) as (ingress, _):
        url = f"http://127.0.0.1:{ingress.port}/api/v1/byok/{new_id()}"
        async with world.http.delete(url, headers=headers) as response:
            assert response.status == 404
    actor = world.books.actors[-1]
    assert actor is not None
    assert actor.client_address == "203.0.113.9"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "offset=-1",
        "offset=1000001",
        "offset=" + "9" * 30,
        "provider=%00",
        "workspace_id=w",
    ],
)
async def test_a_bad_page_is_refused(world: World, query: str) -> None:
    status, body = await call(world, "GET", f"/byok?{query}")
    assert status == 400
    assert query.partition("=")[0] in body["error"]["message"]


async def test_anyone_may_read_the_models(world: World) -> None:
    async with world.http.get(f"{world.base_url}/models") as response:
        body = await response.json()
    assert response.status == 200
    model = next(each for each in body["data"] if each["id"] == MODEL)
    assert model["pricing"] == {
        "prompt": "0.0000025",
        "completion": "0.00001",
        "request": "0",
        "input_cache_read": "0.00000125",
    }
    assert model["context_length"] == 128_000
    async with world.http.get(f"{world.base_url}/models?offset=100000") as response:
        past = await response.json()
    assert past == {"data": [], "total_count": body["total_count"], "links": {"next": None}}


async def models(world: World, query: str = "") -> tuple[int, Any]:
    async with world.http.get(f"{world.base_url}/models{query}") as response:
        return response.status, await response.json()


async def test_the_list_shows_models_that_chat_unless_others_are_asked_for(world: World) -> None:
    async def shown(query: str) -> set[str]:
        status, body = await models(world, query)
        assert status == 200, body
        assert body["total_count"] == len(body["data"])
        return {each["id"] for each in body["data"]}

    assert EMBEDDING not in await shown("")
    assert MODEL in await shown("")
    assert await shown("?output_modalities=embeddings") == {EMBEDDING}
    assert await shown("?output_modalities=all") >= {MODEL, EMBEDDING}
    assert MODEL in await shown("?output_modalities=text,embeddings&input_modalities=image")
    assert MODEL in await shown("?supported_parameters=temperature")
    assert await shown("?supported_parameters=temperature,no_such_thing") == set()
    assert await shown("?supported_parameters=temperature&supported_parameters=dimensions") == set()


async def test_the_catalog_has_no_categories_and_says_so(world: World) -> None:
    status, body = await models(world, "?category=programming")
    assert (status, body["error"]["message"]) == (400, "category: there are no categories here")
    status, body = await models(world, "?supported_parameters=" + ",".join(map(str, range(51))))
    assert status == 400
    assert "supported_parameters" in body["error"]["message"]


async def test_a_model_says_where_it_is_served(world: World) -> None:
    _, listing = await models(world)
    link = next(each for each in listing["data"] if each["id"] == MODEL)["links"]["details"]
    assert link == f"/api/v1/models/{MODEL}/endpoints"

    status, body = await models(world, f"/{MODEL}/endpoints")

    assert status == 200
    model = body["data"]
    assert model.keys() == {
        *("id", "name", "created", "description", "architecture", "endpoints"),
    }
    assert [each["tag"] for each in model["endpoints"]] == ["openai", "azure"]
    first = model["endpoints"][0]
    assert first["provider_name"] == "OpenAI"
    assert first["pricing"]["completion"] == "0.00001"
    assert first["max_completion_tokens"] == 16_384
    assert first.keys() >= {
        *("name", "model_id", "model_name", "context_length", "quantization"),
        *("max_prompt_tokens", "supported_parameters", "uptime_last_5m", "uptime_last_30m"),
        *("uptime_last_1d", "supports_implicit_caching", "latency_last_30m", "throughput_last_30m"),
    }
    status, body = await models(world, "/openai/gpt-4q/endpoints")
    assert status == 404
    assert f"did you mean {MODEL}" in body["error"]["message"]


async def test_a_model_that_embeds_does_not_chat(world: World) -> None:
    async with world.http.post(
        f"{world.base_url}/chat/completions",
        headers=world.account.headers,
        json={"model": EMBEDDING, "messages": [{"role": "user", "content": "hi"}]},
    ) as response:
        body = await response.json()
    assert response.status == 400
    assert body["error"]["message"] == f"model: {EMBEDDING} makes embeddings and does not chat"


async def test_a_key_is_described_with_exact_amounts(world: World) -> None:
    async with world.http.get(f"{world.base_url}/key", headers=world.account.headers) as response:
        text = await response.text()
    assert response.status == 200, text
    key = json.loads(text, parse_float=Decimal)["data"]
    assert key["usage"] == Decimal("0.000000001")
    assert key["byok_usage_daily"] == Decimal("0.0360795")
    assert key["credits"] == Decimal("5.000000001")
    month = month_of(SystemClock().now())
    assert key["byok_allotment"] == {
        "rule": "requests",
        "month": month,
        "free": 10,
        "used": 3,
        "left": 7,
    }
    assert key["is_management_key"] is False
    assert key["label"].startswith("sk-or-v1-")
    assert world.account.api_key not in text


async def test_an_allotment_by_list_cost_is_described_in_dollars(world: World) -> None:
    account = await make_account(world.operations, "by list cost")
    async with open_connections(world.operations) as connections:
        changed = await accounts.change_policy(
            connections,
            account.account_id,
            {"allotment_rule": "list_cost", "free_list_cost_nano_usd": 1_000_000_001},
        )
    assert changed.warning is None

    async def described() -> dict[str, Any]:
        url = f"{world.base_url}/key"
        async with world.http.get(url, headers=account.headers) as response:
            found = json.loads(await response.text(), parse_float=Decimal)
        allotment: dict[str, Any] = found["data"]["byok_allotment"]
        return allotment

    async def is_so() -> bool:
        return "list_cost" in (await described()).values()

    await wait_until(is_so)
    assert await described() == {
        "rule": "list_cost",
        "month": month_of(SystemClock().now()),
        "free": Decimal("1.000000001"),
        "used": Decimal("0.25"),
        "left": Decimal("0.750000001"),
    }


async def test_a_policy_is_applied_before_the_command_returns(world: World) -> None:
    async with open_connections(world.operations) as connections:
        account = await accounts.create(connections, name="policy")
        account_id = account.printed["account_id"]
        changed = await accounts.change_policy(
            connections,
            account_id,
            {
                "free_requests": 0,
                "fee_percent": Decimal("7.5"),
                "byok_only": True,
                "shared_limits": {"openai": SharedLimit(requests_per_minute=5)},
            },
        )
        assert changed.warning is None
        assert changed.printed == {
            "account_id": account_id,
            "byok_only": True,
            "fee_percent": "7.5",
            "allotment": None,
            "free_requests": 0,
            "free_list_cost": None,
            "shared_limits": {"openai": {"requests_per_minute": 5}},
        }
        by_list_cost = {"allotment_rule": "list_cost", "free_list_cost_nano_usd": 1_500_000_000}
        changed = await accounts.change_policy(connections, account_id, by_list_cost)
        assert changed.warning is None
        assert (changed.printed["allotment"], changed.printed["free_list_cost"]) == (
            "list_cost",
            "1.5",
        )
        back = {"allotment_rule": None, "free_list_cost_nano_usd": None}
        changed = await accounts.change_policy(connections, account_id, back)
        assert changed.printed["allotment"] is None
        with pytest.raises(BadInput, match="no account"):
            await accounts.change_policy(connections, new_id(), {"free_requests": 1})


async def test_byok_only_of_an_api_key_counts_for_its_next_request(world: World) -> None:
    account = await make_account(world.operations, "one key off credits")
    other = await make_account(world.operations, "other")
    key_hash = hash_api_key(account.api_key)

    async def is_byok_only(of: Account) -> bool:
        seen = len(world.dispatcher.requests)

        async def answer(run: Run) -> None:
            await run.send(ReplyFailed(status=404, message="x", error_type="not_found"), last=True)

        world.dispatcher.script = answer
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        async with world.http.post(
            f"{world.base_url}/chat/completions", json=body, headers=of.headers
        ) as response:
            assert response.status == 404, await response.text()
        (request,) = world.dispatcher.requests[seen:]
        return request.byok_only

    assert not await is_byok_only(account)  # and now the key is remembered
    async with open_connections(world.operations) as connections:
        for wanted in (True, False):
            changed = await api_keys.change_policy(connections, key_hash, byok_only=wanted)
            assert changed.warning is None
            assert changed.printed == {
                "account_id": account.account_id,
                "api_key_hash": key_hash,
                "byok_only": wanted,
            }

            async def is_in_force(*, wanted: bool = wanted) -> bool:
                return await is_byok_only(account) is wanted

            await wait_until(is_in_force, deadline_seconds=1)
            assert not await is_byok_only(other)
        await accounts.change_policy(connections, account.account_id, {"byok_only": True})
        await api_keys.change_policy(connections, key_hash, byok_only=False)

        async def holds_for_the_account() -> bool:
            return await is_byok_only(account)

        await wait_until(holds_for_the_account, deadline_seconds=1)
        for wrong in ("0" * 64, "0" * 63, account.api_key):
            with pytest.raises(BadInput) as refused:
                await api_keys.change_policy(connections, wrong, byok_only=True)
            assert account.api_key not in str(refused.value)


async def test_a_top_up_is_idempotent_by_its_key(world: World) -> None:
    async with open_connections(world.operations) as connections:
        for is_repeated in (False, True):
            outcome = await credit.add(
                connections, world.account.account_id, amount_nano_usd=5_000_000_000, key="once"
            )
            assert outcome.printed["amount"] == "5"
            assert outcome.printed["repeated"] is is_repeated
        with pytest.raises(BadInput, match="no account"):
            await credit.add(connections, new_id(), amount_nano_usd=1, key=None)


async def test_without_their_secrets_the_ways_in_for_credits_do_not_exist(world: World) -> None:
    path = f"{world.base_url}/operator/accounts/{world.account.account_id}/credits"
    for url in (path, f"{world.base_url}/webhooks/stripe"):
        async with world.http.post(url, headers=world.account.management_headers) as response:
            assert response.status == 404


@pytest.mark.parametrize("value", ["", "whsec_short"])
async def test_an_empty_or_malformed_webhook_secret_refuses_to_start(
    infrastructure: Infrastructure, value: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.ingress"),
        env={**infrastructure.environment("ingress"), "STRIPE_WEBHOOK_SECRET": value},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"STRIPE_WEBHOOK_SECRET" in errors


async def test_a_platform_credential_is_replaced_by_the_next_one(
    world: World, tmp_path: Path
) -> None:
    file = tmp_path / "credential"
    await asyncio.to_thread(file.write_text, CANARY)
    async with open_connections(world.operations) as connections:
        first = await platform_credential.keep(connections, provider="openai", file=file)
        second = await platform_credential.keep(connections, provider="openai", file=file)
    assert first.printed["credential_id"] == second.printed["credential_id"]
    assert (first.printed["replaced"], second.printed["replaced"]) == (False, True)
    assert [account for account, _ in world.books.credentials].count(PLATFORM_ACCOUNT) == 1
    operator = await asyncio.to_thread(getpass.getuser)
    assert world.books.actors[-2:] == [Actor(kind="operator", operator=operator)] * 2


async def test_the_command_line_prints_keys_last_and_refuses_bad_input_in_one_line(
    world: World,  # noqa: ARG001 - its billing confirms the account
    infrastructure: Infrastructure,
    capfd: pytest.CaptureFixture[str],
) -> None:
    environment = infrastructure.environment("ingress")
    code = await asyncio.to_thread(main, ["account", "--name", "from a shell"], environment)
    printed = capfd.readouterr()
    assert code == 0, printed.err
    assert set(json.loads(printed.out.splitlines()[-1])) == {
        "account_id",
        "management_key",
        "api_key",
    }
    unknown = ["credit", "--account", new_id(), "--amount", "5.00"]
    assert await asyncio.to_thread(main, unknown, environment) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    policy = ["account-policy", "--account", new_id()]
    for wrong in (
        ["credit", "--account", "x", "--amount", "1e400"],
        ["account"],
        ["nothing"],
        [*policy, "--allotment", "dollars"],
        [*policy, "--free-list-cost", "-1"],
        [*policy, "--free-list-cost", "0.0000000001"],
        [*policy, "--free-list-cost", "1000000001"],
    ):
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main, wrong, environment)
        assert ended.value.code == 2
        assert len(capfd.readouterr().err.splitlines()) == 1
