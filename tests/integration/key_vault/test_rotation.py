"""A new version of Vault's key, every row rewrapped, old versions retired: on servers of our own."""

import asyncio
import base64
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta

import hvac
import pytest

from deploy.local.options import Options
from deploy.local.places import REPOSITORY
from deploy.local.private_files import read_json
from deploy.local.progress import Progress
from deploy.local.stack import Stack, Stage
from deploy.vault.keys import LIVES, read_versions, retire_aged, rotate
from deploy.vault.rotation import Rotation, RotationError
from services.key_vault.domain.ciphertext import KeptCiphertext, key_version
from services.key_vault.domain.credential import changed
from services.key_vault.outbound.postgres_account import PostgresAccount
from services.key_vault.outbound.postgres_ciphertexts import PostgresCiphertexts
from shared.clock import SystemClock
from shared.config.environment import load
from shared.events.credential_secrets import StringSecret, decode_secret
from shared.events.credentials import CredentialForgotten, credential_context
from shared.ids import AccountId, CredentialId, InstanceId, new_id
from shared.kafka.config import KafkaConfig
from shared.kafka.producer import EventProducer
from shared.postgres.config import PostgresConfig
from shared.postgres.pool import open_pool
from shared.vault.errors import VaultRefused
from tests.conftest import Infrastructure
from tests.integration.key_vault.client import Client, account_id
from tests.integration.key_vault.conftest import KeyVaultProcess
from tests.integration.key_vault.dispatcher import opened_by_dispatcher
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.slow, pytest.mark.timeout(120)]

IN_FLIGHT = 8


@pytest.fixture(scope="module")
def infrastructure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infrastructure]:
    """Servers of our own: every row of theirs is rewrapped, and old versions are retired."""
    stack = Stack(Options(root=tmp_path_factory.mktemp("rotation")))
    stack.up(until=Stage.TOPICS)
    try:
        yield Infrastructure(stack)
    finally:
        stack.clean()


@pytest.fixture
async def client(client: Client) -> AsyncIterator[Client]:
    """The same, leaving no credential behind for the next test."""
    yield client
    async with client.database.transaction():
        await client.database.execute(
            "insert into outbox_dirty (topic, key, due_at) "
            "select 'credentials.state', account_id || '/' || credential_id, clock_timestamp() "
            "from credentials on conflict do nothing"
        )
        await client.database.execute("delete from credentials")
    await wait_until(lambda: len(client.view) == 0, otherwise="no tombstones came")


@pytest.fixture(scope="module")
def operator(infrastructure: Infrastructure) -> hvac.Client:
    token = infrastructure.stack.vault_token("rotation")
    return hvac.Client(url=infrastructure.vault, token=token, timeout=5)


class Rewrapping:
    """`python -m services.key_vault.operations rewrap`, read line by line."""

    def __init__(self, infrastructure: Infrastructure) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.key_vault.operations", "rewrap"],
            cwd=REPOSITORY,
            env=dict(infrastructure.environment("key_vault")),
            stdout=subprocess.PIPE,
            text=True,
        )

    def next_line(self) -> dict[str, int] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        told: dict[str, int] | None = json.loads(line) if line else None
        return told

    def kill_after(self, rewrapped: int) -> dict[str, int]:
        """Kill -9 once so many are done; the line that said so."""
        while (told := self.next_line()) is not None:
            if told["rewrapped"] >= rewrapped:
                break
        self._process.kill()
        self._end()
        assert told is not None
        return told

    def finish(self) -> tuple[int, dict[str, int]]:
        """The exit code and the last line."""
        lines = list(iter(self.next_line, None))
        return self._end(), lines[-1]

    def _end(self) -> int:
        assert self._process.stdout is not None
        code = self._process.wait(60)
        self._process.stdout.close()
        return code


async def add_many(client: Client, number: int) -> dict[CredentialId, AccountId]:
    slots = asyncio.Semaphore(IN_FLIGHT)
    accounts = [account_id() for _ in range(IN_FLIGHT)]

    async def add(place: int) -> tuple[CredentialId, AccountId]:
        mine = replace(client, account=accounts[place % IN_FLIGHT])
        async with slots:
            return await mine.add("openai", f"sk-number-{place:05d}-AbCd"), mine.account

    return dict(await asyncio.gather(*(add(place) for place in range(number))))


async def versions_of_rows(client: Client) -> dict[int, int]:
    rows = await client.database.fetch("select ciphertext from credentials")
    found = [key_version(row["ciphertext"]) for row in rows if row["ciphertext"] is not None]
    return {version: found.count(version) for version in set(found)}


async def all_states_are_those_of_the_rows(client: Client) -> None:
    rows = await client.database.fetch(
        "select account_id, credential_id, ciphertext, version, secret_revision from credentials "
        "where deleted_at is null"
    )

    def arrived() -> bool:
        for row in rows:
            state = replace(client, account=row["account_id"]).state(row["credential_id"])
            if state is None or state.version != row["version"]:
                return False
            assert (state.ciphertext, state.secret_revision) == (
                row["ciphertext"],
                row["secret_revision"],
            )
        return True

    await wait_until(arrived, otherwise="not every state is on the topic")
    assert client.view.problem() is None


async def test_a_rewrap_that_is_killed_goes_on_where_it_was_and_every_key_still_opens(
    client: Client, infrastructure: Infrastructure, operator: hvac.Client
) -> None:
    credentials = await add_many(client, 520)
    before = (await asyncio.to_thread(read_versions, operator, "credentials")).newest
    newest = await asyncio.to_thread(rotate, operator, "credentials")
    assert newest == before + 1

    first = await asyncio.to_thread(Rewrapping(infrastructure).kill_after, 1)
    between = await versions_of_rows(client)
    second = await asyncio.to_thread(Rewrapping(infrastructure).kill_after, 100)
    code, last = await asyncio.to_thread(Rewrapping(infrastructure).finish)

    assert 0 < first["rewrapped"] < 520
    assert between[before] > 0
    assert between[newest] >= first["rewrapped"]
    assert second["rewrapped"] >= 100
    assert second["rewrapped"] + second["left"] == between[before]
    assert (code, last["left"], last["misfits"]) == (0, 0, 0)
    assert await versions_of_rows(client) == {newest: 520}
    await all_states_are_those_of_the_rows(client)
    for credential, account in list(credentials.items())[::40]:
        state = replace(client, account=account).state(credential)
        assert state is not None
        assert state.secret_revision == 1
        opened = await opened_by_dispatcher(
            infrastructure, state.ciphertext, credential_context(account, credential)
        )
        secret = decode_secret(opened)
        assert isinstance(secret, StringSecret)
        assert secret.value.startswith("sk-number-")


async def test_a_kill_between_rewrapping_and_publishing_leaves_nothing_untold(
    client: Client, infrastructure: Infrastructure, operator: hvac.Client
) -> None:
    credential = await client.add("openai", "sk-0123456789abcdefghij-AbCd")
    before = await client.state_at(credential, 1)
    await asyncio.to_thread(rotate, operator, "credentials")
    context = credential_context(client.account, credential)
    rewrapped = await asyncio.to_thread(
        lambda: hvac.Client(
            url=infrastructure.vault, token=infrastructure.stack.vault_token("key-vault")
        ).secrets.transit.rewrap_data("credentials", before.ciphertext, context=_coded(context))
    )
    kept = KeptCiphertext(key=(client.account, credential), ciphertext=before.ciphertext)
    config = load(PostgresConfig, infrastructure.environment("key_vault"))
    async with open_pool(config, application_name="test") as pool:
        replaced = await PostgresCiphertexts(pool).replace(
            [(kept, rewrapped["data"]["ciphertext"])], SystemClock().now()
        )
    assert replaced == [kept.key]

    code, last = await asyncio.to_thread(Rewrapping(infrastructure).finish)

    assert (code, last["rewrapped"]) == (0, 0)
    after = await client.state_at(credential, 2)
    assert after.ciphertext == rewrapped["data"]["ciphertext"]
    left = "select count(*) from outbox_dirty where key like $1 || '/%'"
    assert await client.database.fetchval(left, client.account) == 0


async def test_what_was_changed_or_deleted_meanwhile_is_not_overwritten(
    client: Client, infrastructure: Infrastructure
) -> None:
    new_key, deleted, policy, untouched = [
        await client.add("openai", f"sk-old-{number}-0123456789-AbCd") for number in range(4)
    ]
    config = load(PostgresConfig, infrastructure.environment("key_vault"))
    async with open_pool(config, application_name="test") as pool:
        ciphertexts = PostgresCiphertexts(pool)
        seen = await ciphertexts.besides(999, (client.account, CredentialId("")), limit=100)
        command_id = new_id()
        sealed = await client.seal("sk-new-0123456789abc-WxYz", new_key, command_id)
        await client.change(new_key, sealed_key=sealed, command_id=command_id)
        await client.ask(client.to_delete(deleted), CredentialForgotten)
        await client.change(policy, always_use=True)
        mine = [kept for kept in seen if kept.key[0] == client.account]
        changed_key = await client.row(new_key)

        replaced = await ciphertexts.replace(
            [(kept, f"{kept.ciphertext}-rewrapped") for kept in mine], SystemClock().now()
        )

    assert len(mine) == 4
    assert {credential for _, credential in replaced} == {policy, untouched}
    assert await client.row(new_key) == changed_key
    assert (await client.row(deleted))["ciphertext"] is None
    row = await client.row(policy)
    assert (row["version"], row["always_use"], row["secret_revision"]) == (3, True, 1)
    assert row["ciphertext"].endswith("-rewrapped")


async def test_a_rewrap_waits_for_a_command_that_has_read_what_it_will_write(
    client: Client, infrastructure: Infrastructure
) -> None:
    credential = await client.add("openai", "sk-0123456789abcdefghij-AbCd")
    config = load(PostgresConfig, infrastructure.environment("key_vault"))
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    unsent = EventProducer(
        KafkaConfig(bootstrap_servers="nowhere:1"),
        source=InstanceId("test"),
        clock=SystemClock(),
        new_id=new_id,
    )
    async with open_pool(config, application_name="test") as pool:
        ciphertexts = PostgresCiphertexts(pool)
        kept = KeptCiphertext(
            key=(client.account, credential),
            ciphertext=(await client.row(credential))["ciphertext"],
        )

        async def a_rewrap_waits() -> bool:
            found: int = await client.database.fetchval(waiting)
            return found == 1

        # left in this order: the commit, then the wait for the rewrap
        async with (
            asyncio.TaskGroup() as group,
            pool.acquire() as connection,
            connection.transaction(),
        ):
            account = await PostgresAccount.locked(connection, client.account, unsent)
            read = await account.find(credential)
            assert read is not None
            replacing = group.create_task(
                ciphertexts.replace([(kept, "vault:v9:rewrapped")], SystemClock().now())
            )
            await wait_until(a_rewrap_waits, otherwise="the rewrap does not wait")
            disabled = changed(read, replace(read.policy, enabled=False), None)
            await account.keep(disabled, SystemClock().now())

    assert replacing.result() == [kept.key]
    row = await client.row(credential)
    assert (row["enabled"], row["ciphertext"], row["version"]) == (False, "vault:v9:rewrapped", 3)


async def test_commands_go_on_during_a_rewrap_and_nothing_of_them_is_lost(
    client: Client, infrastructure: Infrastructure, operator: hvac.Client
) -> None:
    credentials = await add_many(client, 200)
    keys: dict[CredentialId, str] = {}
    policies: set[CredentialId] = set()
    gone: set[CredentialId] = set()
    newest = await asyncio.to_thread(rotate, operator, "credentials")

    async def disturb(place: int, credential: CredentialId, account: AccountId) -> None:
        mine = replace(client, account=account)
        match place % 4:
            case 0:
                keys[credential] = f"sk-changed-{place:05d}-WxYz"
                command_id = new_id()
                sealed = await mine.seal(keys[credential], credential, command_id)
                await mine.change(credential, sealed_key=sealed, command_id=command_id)
            case 1:
                await mine.change(credential, always_use=True)
                policies.add(credential)
            case 2:
                await mine.ask(mine.to_delete(credential), CredentialForgotten)
                gone.add(credential)
            case _:
                added = await mine.add("openai", f"sk-added-{place:05d}-AbCd")
                keys[added] = f"sk-added-{place:05d}-AbCd"

    slots = asyncio.Semaphore(IN_FLIGHT)

    async def disturb_in_turn(place: int, credential: CredentialId, account: AccountId) -> None:
        async with slots:
            await disturb(place, credential, account)

    async with asyncio.TaskGroup() as group:
        rewrapping = group.create_task(asyncio.to_thread(Rewrapping(infrastructure).finish))
        for place, (credential, account) in enumerate(credentials.items()):
            group.create_task(disturb_in_turn(place, credential, account))
    code, last = rewrapping.result()

    assert (code, last["left"]) == (0, 0)
    assert set(await versions_of_rows(client)) == {newest}
    await all_states_are_those_of_the_rows(client)
    rows = {
        row["credential_id"]: row
        for row in await client.database.fetch("select * from credentials")
    }
    assert all(rows[each]["deleted_at"] is not None for each in gone)
    assert all(rows[each]["always_use"] for each in policies)
    for credential, key in list(keys.items())[::10]:
        row = rows[credential]
        opened = await opened_by_dispatcher(
            infrastructure,
            row["ciphertext"],
            credential_context(row["account_id"], credential),
        )
        assert decode_secret(opened) == StringSecret(value=key)


async def test_rotating_retires_old_versions_once_nothing_is_left_at_them(
    client: Client, infrastructure: Infrastructure, operator: hvac.Client
) -> None:
    credential = await client.add("openai", "sk-0123456789abcdefghij-AbCd")
    old = await client.state_at(credential, 1)
    before = await asyncio.to_thread(read_versions, operator, "credentials")
    output = io.StringIO()

    await asyncio.to_thread(run_rotation, infrastructure, operator, output, retire=True)

    after = await asyncio.to_thread(read_versions, operator, "credentials")
    assert (after.newest, after.oldest_open) == (before.newest + 1, before.newest + 1)
    new = await client.state_at(credential, 2)
    context = credential_context(client.account, credential)
    assert await opened_by_dispatcher(infrastructure, new.ciphertext, context)
    with pytest.raises(VaultRefused):
        await opened_by_dispatcher(infrastructure, old.ciphertext, context)
    assert "1 of 1" in output.getvalue()
    assert f"credentials: opens from version {after.newest} on" in output.getvalue()


def test_a_version_of_wire_opens_until_nothing_can_need_it_and_then_no_more(
    infrastructure: Infrastructure, operator: hvac.Client
) -> None:
    ingress, dispatcher = [
        hvac.Client(url=infrastructure.vault, token=infrastructure.stack.vault_token(role))
        for role in ("ingress", "dispatcher")
    ]

    def data_key() -> str:
        made = ingress.secrets.transit.generate_data_key("wire", "plaintext")
        ciphertext: str = made["data"]["ciphertext"]
        return ciphertext

    def opens(wrapped: str) -> bool:
        try:
            dispatcher.secrets.transit.decrypt_data("wire", wrapped)
        except hvac.exceptions.InvalidRequest:
            return False
        return True

    old = data_key()
    kept = read_json(infrastructure.stack.places.secrets / "vault-root.json")
    assert kept is not None
    # as Vault does by itself, every day
    rotate(hvac.Client(url=infrastructure.vault, token=kept["root_token"]), "wire")
    new, now = data_key(), SystemClock().now()

    retire_aged(operator, "wire", now)
    assert opens(old)
    retire_aged(operator, "wire", now + LIVES["wire"] + timedelta(seconds=1))

    assert (opens(old), opens(new)) == (False, True)


async def test_an_interrupted_rotation_is_finished_without_another_version(
    client: Client, infrastructure: Infrastructure, operator: hvac.Client
) -> None:
    await client.add("openai", "sk-0123456789abcdefghij-AbCd")
    newest = await asyncio.to_thread(rotate, operator, "credentials")  # and killed then

    await asyncio.to_thread(run_rotation, infrastructure, operator, io.StringIO())

    assert (await asyncio.to_thread(read_versions, operator, "credentials")).newest == newest
    assert await versions_of_rows(client) == {newest: 1}
    await asyncio.to_thread(run_rotation, infrastructure, operator, io.StringIO())
    assert await versions_of_rows(client) == {newest + 1: 1}


async def test_a_ciphertext_in_the_wrong_row_is_named_stays_and_keeps_versions_from_retiring(
    client: Client, infrastructure: Infrastructure, operator: hvac.Client
) -> None:
    mine, moved = [await client.add("openai", f"sk-{n}-0123456789abc-AbCd") for n in range(2)]
    await client.database.execute(
        "update credentials set ciphertext = "
        "(select ciphertext from credentials where credential_id = $1) where credential_id = $2",
        mine,
        moved,
    )
    before = await asyncio.to_thread(read_versions, operator, "credentials")
    in_wrong_row = (await client.row(moved))["ciphertext"]

    with pytest.raises(RotationError, match="1 credentials do not open where they are kept"):
        await asyncio.to_thread(run_rotation, infrastructure, operator, io.StringIO(), retire=True)

    after = await asyncio.to_thread(read_versions, operator, "credentials")
    assert (after.newest, after.oldest_open) == (before.newest + 1, before.oldest_open)
    assert (await client.row(moved))["ciphertext"] == in_wrong_row
    assert key_version((await client.row(mine))["ciphertext"]) == after.newest


async def test_a_rewrap_waits_for_servers_that_come_back(
    client: Client,
    infrastructure: Infrastructure,
    operator: hvac.Client,
    key_vault: KeyVaultProcess,
) -> None:
    await add_many(client, 260)
    newest = await asyncio.to_thread(rotate, operator, "credentials")
    rewrapping = Rewrapping(infrastructure)
    first = await asyncio.to_thread(rewrapping.next_line)
    assert first is not None
    await asyncio.to_thread(infrastructure.stack.kill, "vault")

    await asyncio.to_thread(infrastructure.stack.up, until=Stage.TOPICS)
    code, last = await asyncio.to_thread(rewrapping.finish)

    assert (code, last["left"]) == (0, 0)
    assert await versions_of_rows(client) == {newest: 260}
    await wait_until(lambda: key_vault.readiness()[0] == 200)


def run_rotation(
    infrastructure: Infrastructure,
    operator: hvac.Client,
    output: io.StringIO,
    *,
    retire: bool = False,
) -> None:
    with Progress(output) as progress:
        Rotation(
            operator,
            key_vault=infrastructure.environment("key_vault"),
            progress=progress,
            settle_seconds=0,
        ).run(retire=retire)


def _coded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
