"""An account's management keys, as operators make, list and disable them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.ingress.outbound.postgres_accounts import ChangedApiKey, StateReader
from shared.events.topics import API_KEYS_STATE
from shared.ids import AccountId, ApiKeyHash
from shared.kafka.producer import EventProducer
from shared.postgres.dirty_keys import one_by_one
from shared.postgres.errors import translate
from shared.postgres.outbox import Written, mark_dirty
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import Connection, Pool, in_transaction

_ALL: Final = """
select hash, label, name, disabled, created_at from api_keys
where account_id = $1 and management and deleted_at is null order by created_at, hash
"""
_ADD: Final = """
insert into api_keys (hash, account_id, member_id, label, name, management)
select $2, id, (select id from members where account_id = $1 and role = 'owner' order by id limit 1),
       $3, $4, true
from accounts where id = $1
returning account_id
"""
_DISABLE: Final = """
update api_keys set disabled = true, version = version + 1, updated_at = clock_timestamp()
where account_id = $1 and hash = $2 and management and deleted_at is null
returning account_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementKey:
    """A row of the books; the key itself is not in it."""

    api_key_hash: ApiKeyHash
    label: str
    name: str
    is_disabled: bool
    created_at: datetime


class PostgresManagementKeys:
    """Every change is told on `api-keys.state`, upon which ingress processes forget the key."""

    def __init__(self, pool: Pool, producer: EventProducer) -> None:
        """What is committed is published at once, or by the sweeper of any ingress process."""
        self._pool = pool
        self._relay = OutboxRelay(pool, producer, one_by_one(StateReader(producer)))

    async def all_of(self, account_id: AccountId) -> list[ManagementKey]:
        """All that were not deleted, oldest first."""
        with translate():
            rows = await self._pool.fetch(_ALL, account_id)
        return [
            ManagementKey(
                api_key_hash=ApiKeyHash(row["hash"]),
                label=row["label"],
                name=row["name"],
                is_disabled=row["disabled"],
                created_at=row["created_at"],
            )
            for row in rows
        ]

    async def add(
        self, account_id: AccountId, *, api_key_hash: ApiKeyHash, label: str, name: str
    ) -> ChangedApiKey | None:
        """A new one, the owner's; None when there is no such account."""
        return await self._change(_ADD, account_id, api_key_hash, label, name)

    async def disable(
        self, account_id: AccountId, api_key_hash: ApiKeyHash
    ) -> ChangedApiKey | None:
        """Take one out of use for good; None when the account has no such management key."""
        return await self._change(_DISABLE, account_id, api_key_hash)

    async def _change(
        self, statement: str, account_id: AccountId, api_key_hash: ApiKeyHash, *values: str
    ) -> ChangedApiKey | None:
        async def work(connection: Connection) -> Written | None:
            changed = await connection.fetchval(statement, account_id, api_key_hash, *values)
            if changed is None:
                return None
            return await mark_dirty(connection, API_KEYS_STATE.name, [api_key_hash])

        written = await in_transaction(self._pool, work)
        if written is None:
            return None
        is_published = await self._relay.publish_now(written)
        return ChangedApiKey(account_id=account_id, is_published=is_published)
