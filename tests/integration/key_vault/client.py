"""What ingress and a dispatcher do with key_vault, for tests: call it, and hold its state."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
from aiokafka import TopicPartition

from shared.clock import SystemClock
from shared.events.credential_audit import CredentialAudited
from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    CredentialChanged,
    CredentialKept,
    CredentialRemoved,
    CredentialsHeartbeat,
    DeleteCredential,
    credential_key,
    intake_context,
)
from shared.events.envelope import CallReply, Event, Heartbeat
from shared.events.topics import (
    CREDENTIALS_AUDIT,
    CREDENTIALS_COMMANDS,
    CREDENTIALS_STATE,
    INGRESS_REPLIES,
)
from shared.ids import AccountId, CredentialId, new_id, new_instance_id
from shared.kafka.calls import Calls
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import decode_record, open_consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import open_producer
from shared.kafka.readers import PartitionReader
from shared.kafka.view import View
from shared.tasks import TaskScope
from shared.vault.config import VaultConfig
from shared.vault.session import open_vault
from shared.vault.transit import Transit
from tests.conftest import Infrastructure
from tests.support.wait_until import wait_until

PARTITION: Final = 3
CALL_SECONDS: Final = 15.0

R = TypeVar("R", bound=CallReply)


def account_id() -> AccountId:
    return AccountId(new_id())


@dataclass
class Client:
    """One account's way to key_vault."""

    calls: Calls
    transit: Transit
    view: View
    database: asyncpg.Connection
    counts: list[tuple[int, int]]
    """For each heartbeat: what it counts, and what the view held at its place on the topic."""
    account: AccountId = field(default_factory=account_id)

    async def seal(self, key: str, credential: CredentialId, command_id: str) -> str:
        context = intake_context(self.account, credential, command_id)
        return await self.transit.encrypt("intake", key.encode(), context=context)

    async def ask(
        self, command: Event, answer: type[R], *, deadline_seconds: float = CALL_SECONDS
    ) -> R:
        reply = await self.calls.call(
            CREDENTIALS_COMMANDS,
            command,
            key=self.account,
            callee="key-vault",
            deadline_seconds=deadline_seconds,
        )
        assert isinstance(reply, answer), reply
        return reply

    async def to_add(self, provider: str, key: str, **policy: Any) -> AddCredential:
        credential, command_id = CredentialId(new_id()), new_id()
        return AddCredential(
            command_id=command_id,
            account_id=self.account,
            credential_id=credential,
            provider=provider,
            sealed_key=await self.seal(key, credential, command_id),
            **policy,
        )

    async def add(self, provider: str, key: str, **policy: Any) -> CredentialId:
        command = await self.to_add(provider, key, **policy)
        kept = await self.ask(command, CredentialKept)
        return kept.credential.credential_id

    async def change(self, credential: CredentialId, **fields: Any) -> CredentialKept:
        named = {"command_id": new_id()} | fields
        command = ChangeCredential(account_id=self.account, credential_id=credential, **named)
        return await self.ask(command, CredentialKept)

    def to_delete(self, credential: CredentialId) -> DeleteCredential:
        return DeleteCredential(
            command_id=new_id(), account_id=self.account, credential_id=credential
        )

    async def row(self, credential: CredentialId) -> Any:
        return await self.database.fetchrow(
            "select * from credentials where account_id = $1 and credential_id = $2",
            self.account,
            credential,
        )

    def state(self, credential: CredentialId) -> CredentialChanged | None:
        found = self.view.get(credential_key(self.account, credential))
        assert found is None or isinstance(found, CredentialChanged)
        return found

    async def state_at(self, credential: CredentialId, version: int) -> CredentialChanged:
        def has_come() -> bool:
            found = self.state(credential)
            return found is not None and found.version == version

        await wait_until(has_come, otherwise=f"version {version} is not on the topic")
        found = self.state(credential)
        assert found is not None
        return found


async def audit_on_kafka(kafka: KafkaConfig) -> list[CredentialAudited]:
    """All that stands on `credentials.audit`, as anyone may read it."""
    found: list[CredentialAudited] = []
    async with open_consumer(kafka) as consumer:
        partition = TopicPartition(CREDENTIALS_AUDIT.name, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, 0)
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    event = decode_record(record).event
                    assert isinstance(event, CredentialAudited)
                    found.append(event)
    return found


@asynccontextmanager
async def open_client(infrastructure: Infrastructure) -> AsyncGenerator[Client]:
    """A client with the rights of ingress, its reader, and a dispatcher's view."""
    clock = SystemClock()
    kafka = KafkaConfig(bootstrap_servers=infrastructure.kafka)
    environment = infrastructure.environment("ingress")
    vault_config = VaultConfig(
        address=infrastructure.vault,
        role_id=environment["VAULT_ROLE_ID"],
        secret_id_file=Path(environment["VAULT_SECRET_ID_FILE"]),
    )
    stop = asyncio.Event()
    instance_id = new_instance_id("ingress", PARTITION)
    async with (
        open_producer(kafka, source=instance_id, clock=clock, new_id=new_id) as producer,
        open_vault(vault_config, clock) as vault,
        TaskScope() as scope,
    ):
        dead_letters = DeadLetters(producer, consumer="test", clock=clock)
        calls = Calls(
            producer,
            reply_topic=INGRESS_REPLIES,
            reply_partition=PARTITION,
            clock=clock,
            new_id=new_id,
        )
        reader = PartitionReader(
            kafka,
            topic=INGRESS_REPLIES,
            partition=PARTITION,
            start="end",
            on_record=calls.on_record,
            dead_letters=dead_letters,
            clock=clock,
        )
        counts: list[tuple[int, int]] = []

        def count_of(beat: Heartbeat) -> int:
            assert isinstance(beat, CredentialsHeartbeat)
            counts.append((beat.live_count, len(view)))
            return beat.live_count

        view = View(
            kafka,
            CREDENTIALS_STATE,
            clock=clock,
            dead_letters=dead_letters,
            heartbeat=CredentialsHeartbeat,
            count_of=count_of,
            removal=CredentialRemoved,
        )
        reading = [scope.start(each.run(stop), name="reader") for each in (reader, view)]
        database = await asyncpg.connect(infrastructure.postgres_url("key_vault"))
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await asyncio.gather(reader.ready.wait(), view.ready.wait())
            yield Client(
                calls=calls, transit=Transit(vault), view=view, database=database, counts=counts
            )
        finally:
            await database.close()
            stop.set()
            await asyncio.gather(*reading)
