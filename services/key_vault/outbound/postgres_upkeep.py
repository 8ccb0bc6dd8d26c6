"""What is left behind in PostgreSQL after its use has ended."""

from datetime import datetime
from typing import Final

from shared.events.credentials import credential_key
from shared.events.topics import CREDENTIALS_STATE
from shared.postgres.errors import translate
from shared.postgres.inbox import forget_before
from shared.postgres.outbox import Written, mark_dirty
from shared.postgres.pool import Connection, Pool, in_transaction

_ROWS_MAX: Final = 500
_FACTS_MAX: Final = 10_000
# A marker that is still dirty has not surely reached the topic: the tombstone must come after it.
_BURY: Final = """
delete from credentials where (account_id, credential_id) in (
    select account_id, credential_id from credentials as removed
    where deleted_at < $1 and not exists (
        select from outbox_dirty
        where topic = $2 and key = removed.account_id || '/' || removed.credential_id
    )
    order by deleted_at limit $3 for update skip locked
)
returning account_id, credential_id
"""
_FORGET: Final = """
delete from commands where ctid in (
    select ctid from commands where carried_out_at < $1 limit $2 for update skip locked
)
"""


async def bury_removed(pool: Pool, deleted_before: datetime) -> int:
    """Give up the rows of deleted credentials; the outbox's sweeper sends their tombstones."""

    async def bury(connection: Connection) -> int:
        rows = await connection.fetch(_BURY, deleted_before, CREDENTIALS_STATE.name, _ROWS_MAX)
        keys = [credential_key(row["account_id"], row["credential_id"]) for row in rows]
        _: Written = await mark_dirty(connection, CREDENTIALS_STATE.name, keys)
        return len(rows)

    return await in_transaction(pool, bury)


async def forget_commands(pool: Pool, carried_out_before: datetime) -> int:
    """Delete records of commands that can come no more."""
    with translate():
        status = await pool.execute(_FORGET, carried_out_before, _ROWS_MAX)
    return int(status.rpartition(" ")[2])


async def forget_facts(pool: Pool, taken_in_before: datetime) -> int:
    """Delete records of facts that can be delivered no more."""
    with translate():
        async with pool.acquire() as connection:
            return await forget_before(connection, taken_in_before, rows_max=_FACTS_MAX)
