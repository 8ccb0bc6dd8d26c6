"""`credentials.state`: what dispatchers plan with, and the heartbeat that proves it complete.

A heartbeat says how many credentials live on the topic at its own place there. For that number to
be exact no state may be between reading and acknowledgement while it is counted and sent: whoever
publishes holds a lock in shared mode, the heartbeat holds it alone.
"""

from collections.abc import Sequence
from typing import Final

from services.key_vault.domain.ciphertext import CredentialKey
from services.key_vault.domain.credential import Credential, state_of
from services.key_vault.outbound.credential_rows import (
    CREDENTIAL_COLUMNS,
    credential_or_removal_of,
)
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.credentials import CredentialsHeartbeat, credential_key
from shared.events.topics import CREDENTIALS_STATE
from shared.ids import AccountId, CredentialId, InstanceId
from shared.kafka.producer import EventProducer
from shared.kafka.record import Record
from shared.postgres.outbox import DirtyKey, Written
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import Connection, Pool, in_transaction

_TOPIC: Final = CREDENTIALS_STATE.name
_LOCK_NAME: Final = "hashtextextended('openroute.key_vault.credentials.state', 0)"
_LOCK_TO_PUBLISH: Final = f"select pg_advisory_xact_lock_shared({_LOCK_NAME})"
_LOCK_TO_COUNT: Final = f"select pg_advisory_xact_lock({_LOCK_NAME})"
_READ: Final = f"""
select {CREDENTIAL_COLUMNS}, deleted_at, announced from credentials
where account_id = $1 and credential_id = $2
"""  # noqa: S608 - our own column names
_NOTE_ANNOUNCED: Final = """
update credentials set announced = $3 where account_id = $1 and credential_id = $2
"""


class CredentialsState:
    """Makes the records of `credentials.state`."""

    def __init__(self, producer: EventProducer, *, instance_id: InstanceId, clock: Clock) -> None:
        """`instance_id` names this process in its heartbeats."""
        self._producer = producer
        self._instance_id = instance_id
        self._clock = clock

    async def read(
        self,
        connection: Connection,
        topic: str,  # noqa: ARG002 - this service publishes state on one topic
        key: str,
    ) -> Record | None:
        """The record of a key's state now; None, a tombstone, when nothing is left of it."""
        account_id, _, credential_id = key.partition("/")
        await connection.execute(_LOCK_TO_PUBLISH)
        row = await connection.fetchrow(_READ, account_id, credential_id)
        if row is None:
            return None
        found = credential_or_removal_of(row)
        is_live = isinstance(found, Credential)
        if row["announced"] is not is_live:
            await connection.execute(_NOTE_ANNOUNCED, account_id, credential_id, is_live)
        return self._producer.record(CREDENTIALS_STATE, state_of(found), key=key)

    async def send_heartbeat(self, pool: Pool) -> int:
        """Count, send, and return how many credentials live on the topic. Raises Unavailable."""

        async def count_and_send(connection: Connection) -> int:
            await connection.execute(_LOCK_TO_COUNT)
            live_count: int = await connection.fetchval(
                "select count(*) from credentials where announced"
            )
            heartbeat = CredentialsHeartbeat(
                instance_id=self._instance_id, sent_at=self._clock.now(), live_count=live_count
            )
            await self._producer.emit(
                CREDENTIALS_STATE, heartbeat, key=f"heartbeat/{self._instance_id}"
            )
            return live_count

        return await in_transaction(pool, count_and_send)


class StatePublisher:
    """The ports PublishState and, by `many`, PublishStates, through the outbox."""

    def __init__(self, relay: OutboxRelay) -> None:
        """The relay's sweeper publishes what this could not."""
        self._relay = relay

    async def __call__(self, account_id: AccountId, credential_ids: Sequence[CredentialId]) -> None:
        """Return once Kafka has the states; a key that is not dirty costs one look."""
        await self.many([(account_id, each) for each in credential_ids])

    async def many(self, keys: Sequence[CredentialKey]) -> None:
        """The same for credentials of several accounts."""
        dirty = tuple(DirtyKey(topic=_TOPIC, key=credential_key(*key)) for key in keys)
        if not await self._relay.publish_now(Written(dirty=dirty)):
            raise Unavailable("kafka", "the credential's state is not acknowledged")
