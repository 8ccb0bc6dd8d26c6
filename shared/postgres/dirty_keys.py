"""Publishing the state behind dirty keys, so that the last record of a key is its last state.

Whoever publishes holds the key's lock while it reads the row, sends it and waits for the
acknowledgement; nobody else can send an older reading in between.

A send that was given up may still arrive later, after a newer state that another process sent. Only
the producer that gave it up knows, and what it sends next to that key arrives after it: so whoever
gets False from `publish_dirty` must mark and publish the same keys again itself until it gets True.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from shared.errors import Unavailable
from shared.kafka.record import Record
from shared.postgres.outbox import DirtyKey
from shared.postgres.pool import Connection

KEYS_MAX: Final = 64
"""Keys that one transaction publishes: so many locks are held while Kafka answers."""
_RETRY_SECONDS: Final = 1


class ReadState(Protocol):
    """Reads a key's state as it is now, in the given connection's transaction."""

    async def __call__(self, connection: Connection, topic: str, key: str) -> Record | None:
        """The record, which carries its version; None publishes a tombstone."""
        ...


class ReadStates(Protocol):
    """Reads the states of several keys of one topic, as `ReadState` reads one."""

    async def __call__(
        self, connection: Connection, topic: str, keys: Sequence[str]
    ) -> Mapping[str, Record | None]:
        """The record of each key; a key that is not there, or None, publishes a tombstone."""
        ...


def one_by_one(read_state: ReadState) -> ReadStates:
    """Reads several states by reading each: for topics on which few keys change at a time."""

    async def read_states(
        connection: Connection, topic: str, keys: Sequence[str]
    ) -> Mapping[str, Record | None]:
        return {key: await read_state(connection, topic, key) for key in keys}

    return read_states


class SendRecords(Protocol):
    """Sends records; returns when all are acknowledged, raises Unavailable within a deadline."""

    async def __call__(self, records: Sequence[Record], /) -> None:
        """Send them in order."""
        ...


async def publish_dirty(
    connection: Connection,
    send_many: SendRecords,
    read_states: ReadStates,
    keys: Sequence[DirtyKey],
) -> bool:
    """Publish the state of up to KEYS_MAX keys in the caller's transaction, which must then commit.

    Keys that another process has published meanwhile are left out. False when Kafka did not
    acknowledge: the keys stay dirty and are due again in a second.
    """
    await connection.execute(
        "select pg_advisory_xact_lock(number) from unnest($1::bigint[]) as number",
        sorted({_lock_number(each) for each in keys}),
    )
    # The marks are read before the states: a mark set in between is newer than what we clear.
    marked = await connection.fetch(
        """
        select topic, key, mark from outbox_dirty
        where (topic, key) in (select * from unnest($1::text[], $2::text[]))
        """,
        [each.topic for each in keys],
        [each.key for each in keys],
    )
    if not marked:
        return True
    records: list[Record] = []
    for topic in sorted({row["topic"] for row in marked}):
        changed = [row["key"] for row in marked if row["topic"] == topic]
        states = await read_states(connection, topic, changed)
        records.extend(states.get(key) or _tombstone(topic, key) for key in changed)
    columns = (
        [row["topic"] for row in marked],
        [row["key"] for row in marked],
        [row["mark"] for row in marked],
    )
    try:
        await send_many(records)
    except Unavailable:
        await connection.execute(_POSTPONE, *columns[:2], _RETRY_SECONDS)
        return False
    await connection.execute(_CLEAR, *columns)
    return True


_POSTPONE = """
update outbox_dirty
set due_at = clock_timestamp() + make_interval(secs => $3)
where (topic, key) in (select * from unnest($1::text[], $2::text[]))
"""
# A key that was marked again meanwhile has another mark and stays.
_CLEAR = """
delete from outbox_dirty
where (topic, key, mark) in (select * from unnest($1::text[], $2::text[], $3::bigint[]))
"""


def _lock_number(dirty: DirtyKey) -> int:
    name = f"{dirty.topic}\0{dirty.key}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), signed=True)


def _tombstone(topic: str, key: str) -> Record:
    return Record(topic=topic, key=key.encode(), value=None)
