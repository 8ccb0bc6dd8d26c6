"""What happens when a server or key_vault itself goes away in the middle."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from deploy.local.options import Options
from deploy.local.stack import Stack, Stage
from shared.errors import Unavailable
from shared.events.credentials import (
    AddCredential,
    CredentialKept,
    CredentialsListed,
    GetCredential,
    ListCredentials,
)
from shared.tasks import TaskScope
from tests.conftest import Infrastructure
from tests.integration.key_vault.client import Client
from tests.integration.key_vault.conftest import KeyVaultProcess
from tests.support.wait_until import wait_until

KEY = "sk-0123456789abcdefghij-AbCd"

pytestmark = [pytest.mark.connected, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def infrastructure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infrastructure]:
    """Servers of our own, since they are killed."""
    stack = Stack(Options(root=tmp_path_factory.mktemp("outages")))
    stack.up(until=Stage.TOPICS)
    try:
        yield Infrastructure(stack)
    finally:
        stack.clean()


@asynccontextmanager
async def without(infrastructure: Infrastructure, server: str) -> AsyncIterator[None]:
    await asyncio.to_thread(infrastructure.stack.kill, server)
    try:
        yield
    finally:
        await asyncio.to_thread(infrastructure.stack.up, until=Stage.TOPICS)


async def is_ready(key_vault: KeyVaultProcess) -> bool:
    status, _ = await asyncio.to_thread(key_vault.readiness)
    return status == 200


async def test_without_vault_nothing_is_half_written_and_saving_goes_on_afterwards(
    client: Client, infrastructure: Infrastructure, key_vault: KeyVaultProcess
) -> None:
    late = await client.to_add("openai", KEY)
    waiting = await client.to_add("openai", KEY)
    async with TaskScope() as scope, without(infrastructure, "vault"):
        with pytest.raises(Unavailable):
            await client.ask(late, CredentialKept, deadline_seconds=2)
        status, reasons = await asyncio.to_thread(key_vault.readiness)
        assert status == 503
        assert "vault" in reasons
        assert await client.row(late.credential_id) is None
        recorded = "select count(*) from commands where account_id = $1"
        assert await client.database.fetchval(recorded, client.account) == 0
        answer = scope.start(
            client.ask(waiting, CredentialKept, deadline_seconds=30), name="waiting"
        )
        await asyncio.to_thread(infrastructure.stack.up, until=Stage.TOPICS)
        kept = await answer
    assert kept.credential.credential_id == waiting.credential_id
    await client.state_at(waiting.credential_id, 1)
    assert await client.row(late.credential_id) is None
    await wait_until(lambda: is_ready(key_vault))


async def test_without_postgres_calls_wait_and_are_answered_afterwards(
    client: Client, infrastructure: Infrastructure, key_vault: KeyVaultProcess
) -> None:
    credential = await client.add("openai", KEY)
    question = GetCredential(account_id=client.account, credential_id=credential)
    async with without(infrastructure, "postgres"):
        with pytest.raises(Unavailable):
            await client.ask(question, CredentialKept, deadline_seconds=2)

    kept = await client.ask(question, CredentialKept)

    assert kept.credential.credential_id == credential
    await wait_until(lambda: is_ready(key_vault))


async def test_a_killed_process_loses_and_doubles_nothing(
    client: Client, key_vault: KeyVaultProcess
) -> None:
    commands = [await client.to_add("openai", KEY) for _ in range(60)]
    slots = asyncio.Semaphore(8)

    async def save(command: AddCredential) -> bool:
        async with slots:
            try:
                await client.ask(command, CredentialKept, deadline_seconds=2)
            except Unavailable:
                return False
            return True

    async def kill_soon(saving: list[asyncio.Task[bool]]) -> None:
        # counted by answers: what stands on the topic may not have been answered yet
        await wait_until(lambda: sum(task.done() for task in saving) >= 10)
        await asyncio.to_thread(key_vault.kill)

    async with asyncio.TaskGroup() as group:
        saving = [group.create_task(save(command)) for command in commands]
        group.create_task(kill_soon(saving))
    acknowledged = [c for c, task in zip(commands, saving, strict=True) if task.result()]
    assert 0 < len(acknowledged) < len(commands)
    for command in acknowledged:
        await client.state_at(command.credential_id, 1)
    await asyncio.to_thread(key_vault.start)

    for command in commands:
        await client.ask(command, CredentialKept)

    listed = await client.ask(
        ListCredentials(account_id=client.account, limit=100), CredentialsListed
    )
    assert {each.credential_id for each in listed.credentials} == {
        command.credential_id for command in commands
    }
    assert sorted(each.order for each in listed.credentials) == list(range(60))
    await wait_until(lambda: client.view.problem() is None)
