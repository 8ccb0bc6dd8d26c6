"""What is left of a deleted key on Kafka's disk: nothing, once the topic has been compacted.

The topic is the real one, written by key_vault; only its times are shortened, on servers of our own.
"""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.options import Options
from deploy.local.stack import Stack, Stage
from shared.events.credentials import CredentialForgotten, credential_key
from shared.events.topics import CREDENTIALS_STATE
from tests.conftest import Infrastructure
from tests.integration.key_vault.client import Client
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.slow, pytest.mark.timeout(120)]

SOON = {
    "segment.ms": "500",
    "max.compaction.lag.ms": "500",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
    "file.delete.delay.ms": "100",
}
COMPACTED_SECONDS_MAX = 60.0


@pytest.fixture(scope="module")
def infrastructure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infrastructure]:
    """Servers of our own, whose credentials.state is compacted all the time."""
    stack = Stack(Options(root=tmp_path_factory.mktemp("wiping")))
    stack.up(until=Stage.TOPICS)
    try:
        asyncio.run(_compact_soon(str(stack.manifest["kafka"])))
        yield Infrastructure(stack)
    finally:
        stack.clean()


async def _compact_soon(bootstrap_servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        configuration = CREDENTIALS_STATE.configuration() | SOON
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, CREDENTIALS_STATE.name, configuration)]
        )
    finally:
        await admin.close()


def files_with(infrastructure: Infrastructure, word: str) -> list[str]:
    """Kafka's files, of any topic, that hold a word."""
    found = []
    for file in infrastructure.stack.places.data("kafka").rglob("*"):
        try:
            if file.is_file() and word.encode() in file.read_bytes():
                found.append(str(file))
        except FileNotFoundError:  # cleaned just now
            continue
    return found


async def test_no_ciphertext_and_no_trace_of_a_deleted_credential_stays_on_the_topic(
    client: Client, infrastructure: Infrastructure
) -> None:
    kept = await client.add("openai", "sk-kept-0123456789abcdefghij-AbCd")
    deleted = await client.add("openai", "sk-gone-0123456789abcdefghij-AbCd")
    kept_state = await client.state_at(kept, 1)
    deleted_state = await client.state_at(deleted, 1)
    assert await asyncio.to_thread(files_with, infrastructure, deleted_state.ciphertext)

    await client.ask(client.to_delete(deleted), CredentialForgotten)

    async def ciphertext_is_gone() -> bool:
        return not await asyncio.to_thread(files_with, infrastructure, deleted_state.ciphertext)

    await wait_until(ciphertext_is_gone, deadline_seconds=COMPACTED_SECONDS_MAX)
    # the marker alone is left, for those who read from the beginning; then its tombstone comes
    key = credential_key(client.account, deleted)
    assert await asyncio.to_thread(files_with, infrastructure, key)
    await client.database.execute(
        "update credentials set deleted_at = deleted_at - interval '61 seconds' "
        "where credential_id = $1",
        deleted,
    )

    async def key_is_gone() -> bool:
        found = await asyncio.to_thread(files_with, infrastructure, key)
        return not [file for file in found if CREDENTIALS_STATE.name in file]

    await wait_until(key_is_gone, deadline_seconds=COMPACTED_SECONDS_MAX)
    assert await asyncio.to_thread(files_with, infrastructure, kept_state.ciphertext)
    assert client.view.problem() is None
