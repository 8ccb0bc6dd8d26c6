"""Management keys, as operators make and disable them while ingress runs."""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from deploy.local.places import REPOSITORY
from shared.ids import hash_api_key, new_id
from tests.conftest import Infrastructure
from tests.integration.ingress.conftest import World, make_account, running
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

EFFECT_SECONDS_MAX = 1.0


async def operate(environment: Mapping[str, str], *arguments: str) -> tuple[int | None, Any, str]:
    """Exit code, what is printed as JSON, and complaints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.ingress.operations", "management-key", *arguments),
        cwd=REPOSITORY,
        env=dict(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    return process.returncode, json.loads(output) if output else None, errors.decode()


async def status_of(world: World, key: str, base_url: str = "", path: str = "/keys") -> int:
    headers = {"Authorization": f"Bearer {key}"}
    async with world.http.get(f"{base_url or world.base_url}{path}", headers=headers) as response:
        return response.status


async def test_a_new_key_administers_and_the_one_it_replaces_stops_within_a_second_everywhere(
    world: World, infrastructure: Infrastructure
) -> None:
    environment = infrastructure.environment("ingress")
    account = await make_account(world.operations, "rotated")
    old, of_account = account.management_key, ("--account", account.account_id)
    config = replace(world.config, process=replace(world.config.process, instance_ordinal=1))
    async with running(config) as (other, _):
        elsewhere = f"http://127.0.0.1:{other.port}/api/v1"
        assert await status_of(world, old) == 200
        assert await status_of(world, old, elsewhere) == 200  # both remember it now

        code, made, _ = await operate(environment, *of_account, "--new")
        assert code == 0
        new = made["management_key"]
        assert made["hash"] == hash_api_key(new)
        assert await status_of(world, new) == 200
        assert await status_of(world, new, path="/key") == 200

        code, disabled, _ = await operate(environment, *of_account, "--disable", hash_api_key(old))
        assert (code, disabled["disabled"]) == (0, True)

        async def is_refused() -> bool:
            found = [await status_of(world, old, each) for each in ("", elsewhere)]
            return found == [401, 401]

        await wait_until(is_refused, deadline_seconds=EFFECT_SECONDS_MAX)
    assert await status_of(world, new) == 200
    code, shown, _ = await operate(environment, *of_account)
    assert code == 0
    assert [(each["hash"], each["disabled"]) for each in shown["management_keys"]] == [
        (hash_api_key(old), True),
        (hash_api_key(new), False),
    ]
    assert new not in str(shown)
    assert old not in str(shown)
    # inference keys are the account's own to administer
    assert await status_of(world, account.api_key, path="/key") == 200


async def test_a_new_key_belongs_to_the_accounts_owner(
    world: World, infrastructure: Infrastructure
) -> None:
    account = await make_account(world.operations, "owned")
    _, made, _ = await operate(
        infrastructure.environment("ingress"), "--account", account.account_id, "--new"
    )
    database = await asyncpg.connect(world.config.postgres.url.reveal())
    try:
        members = await database.fetch(
            "select member_id from api_keys where account_id = $1", account.account_id
        )
        kept = await database.fetchval(
            "select k::text from api_keys k where hash = $1", made["hash"]
        )
    finally:
        await database.close()
    assert len(members) == 3
    assert len({row["member_id"] for row in members}) == 1
    assert made["management_key"] not in kept


async def test_what_cannot_be_done_is_exit_2_and_changes_nothing(
    world: World, infrastructure: Infrastructure
) -> None:
    environment = infrastructure.environment("ingress")
    account, other = [await make_account(world.operations, name) for name in ("mine", "other")]
    mine, unknown = ("--account", account.account_id), ("--account", new_id())
    for arguments, complaint in (
        ((*mine, "--disable", hash_api_key(other.management_key)), "no management key of this"),
        ((*mine, "--disable", hash_api_key(account.api_key)), "no management key of this"),
        ((*mine, "--disable", "0" * 64), "no management key of this"),
        ((*mine, "--disable", account.management_key), "SHA-256"),
        ((*mine, "--new", "--disable", "0" * 64), "not allowed with"),
        ((*unknown, "--new"), "there is no account"),
        (unknown, "there is no account"),
        (("--account", "acme"), "is not an account id"),
    ):
        code, printed, errors = await operate(environment, *arguments)
        assert (code, printed) == (2, None), arguments
        assert complaint in errors
        assert account.management_key not in errors
    for key in (account.management_key, other.management_key):
        assert await status_of(world, key) == 200
    assert await status_of(world, account.api_key, path="/key") == 200
