"""The audit on the real servers: append only, whole under concurrency, and checked from outside."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from deploy.local.postgres import DATABASE, Postgres
from shared.events.credential_audit import GENESIS, Actor, CredentialAudited, hash_of
from shared.events.credentials import (
    CredentialForgotten,
    CredentialKept,
    CredentialsReordered,
    ReorderCredentials,
)
from shared.events.envelope import Refused
from shared.ids import AccountId, CredentialId, new_id
from shared.kafka.config import KafkaConfig
from shared.tasks import TaskScope
from tests.conftest import Infrastructure
from tests.integration.key_vault.client import Client, account_id, audit_on_kafka
from tests.integration.key_vault.conftest import KeyVaultProcess
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.connected

KEY = "sk-0123456789abcdefghij-AbCd"
OPERATOR = Actor(kind="operator", operator="alice")


async def rows_of(client: Client) -> list[Any]:
    rows: list[Any] = await client.database.fetch(
        "select * from audit where account_id = $1 order by number", client.account
    )
    return rows


async def published_of(
    client: Client, infrastructure: Infrastructure, count: int
) -> list[CredentialAudited]:
    """An account's entries on the topic, once there are as many."""
    kafka = KafkaConfig(bootstrap_servers=infrastructure.kafka)
    found: list[CredentialAudited] = []

    async def have_come() -> bool:
        found[:] = [
            each for each in await audit_on_kafka(kafka) if each.entry.account_id == client.account
        ]
        return len({each.entry.number for each in found}) >= count

    await wait_until(have_come, otherwise=f"{count} entries of the audit are not on the topic")
    return sorted(found, key=lambda each: each.entry.number)


async def verify(infrastructure: Infrastructure) -> tuple[int | None, list[str], Any]:
    """What the command says: exit code, lines about damage, counts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.key_vault.operations", "verify-audit"),
        env=dict(infrastructure.environment("key_vault")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert not errors, errors.decode()
    *lines, last = output.decode().splitlines()
    return process.returncode, lines, json.loads(last)


@asynccontextmanager
async def superuser(infrastructure: Infrastructure) -> AsyncIterator[asyncpg.Connection]:
    """One who can switch triggers off."""
    stack = infrastructure.stack
    ports = {
        "postgres": int(infrastructure.postgres_url("key_vault").rsplit(":", 1)[1].split("/")[0])
    }
    url = Postgres(options=stack.options, ports=ports).url("postgres")
    connection = await asyncpg.connect(url.removesuffix("postgres") + DATABASE)
    try:
        await connection.execute("set search_path = key_vault")
        await connection.execute("set session_replication_role = replica")
        yield connection
    finally:
        await connection.close()


async def test_what_is_done_is_written_with_who_did_it_and_told_on_kafka(
    client: Client, infrastructure: Infrastructure
) -> None:
    command = await client.to_add("openai", KEY, name="mine", actor=OPERATOR)
    await client.ask(command, CredentialKept)
    await client.change(command.credential_id, enabled=False)
    await client.ask(client.to_delete(command.credential_id), CredentialForgotten)
    await client.ask(client.to_delete(command.credential_id), Refused)

    rows = await rows_of(client)
    entries = [json.loads(row["entry"]) for row in rows]
    assert [(each["number"], each["action"]) for each in entries] == [
        (1, "add"),
        (2, "change"),
        (3, "delete"),
        (4, "delete"),
    ]
    assert entries[0]["actor"] == {"kind": "operator", "operator": "alice"}
    assert entries[1]["changes"] == [{"field": "enabled", "before": True, "after": False}]
    assert entries[3]["refused"] == {"code": "not_found"}
    hashes = [hash_of(row["entry"].encode()) for row in rows]
    assert hashes == [row["hash"] for row in rows]
    assert [each["previous_hash"] for each in entries] == [GENESIS, *hashes[:-1]]
    published = await published_of(client, infrastructure, 4)
    assert [each.hash for each in published] == hashes


@pytest.mark.parametrize(
    "statement",
    [
        "update audit set entry = entry where account_id = $1",
        "delete from audit where account_id = $1",
        "truncate audit",
    ],
)
async def test_the_services_own_user_can_only_append(client: Client, statement: str) -> None:
    await client.add("openai", KEY)
    arguments = [client.account] if "$1" in statement else []

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await client.database.execute(statement, *arguments)

    assert len(await rows_of(client)) == 1


async def test_the_trigger_alone_refuses_too(client: Client) -> None:
    await client.add("openai", KEY)
    async with client.database.transaction():
        await client.database.execute("grant update, delete, truncate on audit to current_user")
        for statement in (
            "update audit set entry = entry",
            "delete from audit",
            "truncate audit",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append only"):
                async with client.database.transaction():
                    await client.database.execute(statement)
        await client.database.execute("revoke update, delete, truncate on audit from current_user")
    assert len(await rows_of(client)) == 1


async def test_commands_of_one_account_at_the_same_time_keep_its_chain_whole(
    client: Client, infrastructure: Infrastructure
) -> None:
    async def live() -> None:
        credential = await client.add("openai", KEY)
        await client.change(credential, note="x")
        await client.ask(client.to_delete(credential), CredentialForgotten)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(live())

    entries = [json.loads(row["entry"]) for row in await rows_of(client)]
    assert [each["number"] for each in entries] == list(range(1, 61))
    code, lines, counts = await verify(infrastructure)
    assert (code, lines, counts["damaged"]) == (0, [], 0)
    assert counts["entries"] >= 60


async def test_each_kind_of_tampering_is_found_and_named(
    client: Client, infrastructure: Infrastructure
) -> None:
    victims: dict[str, Client] = {}
    for kind in ("altered", "middle", "tail", "all", "rewritten"):
        victims[kind] = victim = replace(client, account=account_id())
        credential = await victim.add("openai", KEY)
        await victim.change(credential, enabled=False)
        await victim.change(credential, enabled=True)
        await published_of(victim, infrastructure, 3)
    of = {kind: victim.account for kind, victim in victims.items()}
    assert (await verify(infrastructure))[0] == 0
    kept = {kind: await rows_of(victim) for kind, victim in victims.items()}
    forged = kept["rewritten"][2]["entry"].replace('"after":true', '"after":false')
    async with superuser(infrastructure) as connection:
        await connection.execute(
            "update audit set entry = replace(entry, 'false', 'true ')"
            " where account_id = $1 and number = 2",
            of["altered"],
        )
        for kind, places in (("middle", [2]), ("tail", [3]), ("all", [1, 2, 3])):
            await connection.execute(
                "delete from audit where account_id = $1 and number = any($2::bigint[])",
                of[kind],
                places,
            )
        await connection.execute(
            "update audit set entry = $2, hash = $3 where account_id = $1 and number = 3",
            of["rewritten"],
            forged,
            hash_of(forged.encode()),
        )
        try:
            code, lines, counts = await verify(infrastructure)
        finally:
            for rows in kept.values():
                for row in rows:
                    await connection.execute(
                        "insert into audit (account_id, number, entry, hash)"
                        " values ($1, $2, $3, $4) on conflict (account_id, number)"
                        " do update set entry = excluded.entry, hash = excluded.hash",
                        *row,
                    )

    def told(kind: str) -> list[str]:
        return [line.partition("entry ")[2] for line in lines if of[kind] in line]

    assert code == 1
    assert told("altered") == ["2: it was altered: it does not have its hash"]
    assert told("middle") == ["3: entry 2 is missing", "2: it was published and is gone"]
    assert told("tail") == ["3: it was published and is gone"]
    assert told("all") == [f"{number}: it was published and is gone" for number in (1, 2, 3)]
    assert told("rewritten") == ["3: it was published with another hash: it was replaced"]
    assert counts["damaged"] == len(lines) == 8
    assert (await verify(infrastructure))[:2] == (0, [])


async def test_a_command_that_a_kill_interrupts_is_audited_once_and_so_is_the_next(
    client: Client, key_vault: KeyVaultProcess
) -> None:
    credential = await client.add("openai", KEY)
    async with TaskScope() as scope:
        waiting = [
            scope.start(client.change(credential, order=number), name="change")
            for number in range(1, 21)
        ]
        await wait_until(lambda: any(each.done() for each in waiting))
        await asyncio.to_thread(key_vault.kill)
        await asyncio.to_thread(key_vault.start)
        done = await asyncio.gather(*waiting)

    entries = [json.loads(row["entry"]) for row in await rows_of(client)]
    assert [each["number"] for each in entries] == list(range(1, len(done) + 2))
    assert len({each["command_id"] for each in entries}) == len(done) + 1


async def test_an_order_moves_all_at_once_and_reaches_the_dispatcher(client: Client) -> None:
    first, second, third = [await client.add("openai", KEY) for _ in range(3)]
    elsewhere = await client.add("mistral", KEY, order=5)

    def order(
        *, prioritized: list[CredentialId], fallback: list[CredentialId]
    ) -> ReorderCredentials:
        return ReorderCredentials(
            command_id=new_id(),
            account_id=client.account,
            provider="openai",
            prioritized=prioritized,
            fallback=fallback,
        )

    command = order(prioritized=[third, first], fallback=[second])
    answer = await client.ask(command, CredentialsReordered)
    again = await client.ask(command, CredentialsReordered)

    assert answer == again
    assert answer.fallback == [second]
    # answered once Kafka has all of it
    states = {
        each: await client.state_at(each, version)
        for each, version in ((first, 2), (second, 2), (third, 2), (elsewhere, 1))
    }
    assert [(state.section, state.order) for state in states.values()] == [
        ("prioritized", 1),
        ("fallback", 0),
        ("prioritized", 0),
        ("prioritized", 5),
    ]
    refused = await client.ask(order(prioritized=[first], fallback=[second]), Refused)
    assert (refused.code, str(third) in refused.message) == ("conflict", True)
    stranger = replace(client, account=AccountId(new_id()))
    foreign = order(prioritized=[first, second, third], fallback=[])
    assert (
        await stranger.ask(
            ReorderCredentials(
                command_id=new_id(),
                account_id=stranger.account,
                provider="openai",
                prioritized=foreign.prioritized,
                fallback=[],
            ),
            Refused,
        )
    ).code == "conflict"


async def test_the_most_credentials_that_an_account_may_keep_are_ordered_by_one_command(
    client: Client,
) -> None:
    credential = await client.add("openai", KEY)
    await client.database.execute(
        "insert into credentials select account_id, credential_id || '-' || copy, provider, label,"
        " name, enabled, section, always_use, copy, filters, deployments, ciphertext,"
        " secret_revision, version, false, created_at, changed_at, deleted_at, note"
        " from credentials, generate_series(1, 999) as copy where account_id = $1",
        client.account,
    )
    ids = [credential, *(CredentialId(f"{credential}-{number}") for number in range(1, 1000))]
    command = ReorderCredentials(
        command_id=new_id(),
        account_id=client.account,
        provider="openai",
        prioritized=ids[::-1],
        fallback=[],
    )
    answer = await client.ask(command, CredentialsReordered)
    assert answer.prioritized == ids[::-1]
    last = await client.state_at(ids[-1], 2)
    assert last.order == 0
    assert len(await rows_of(client)) == 1 + 1000
