"""The outbox's writing side: what a transaction tells the world stands in the same transaction.

A service copies `outbox.sql` into a migration. Two kinds:

- **facts** ("this happened"): whole records, several in one row. They are published at least once,
  in order within one call; consumers know a repeated one by its event id.
- **dirty keys** of compacted topics ("this key's state changed"): the publisher reads the state as
  it is when it publishes, so an old state cannot overtake a new one.

After the commit, hand what these functions return to `OutboxRelay.publish_now`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from shared.kafka.record import Record
from shared.postgres.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One stored row with the records in it."""

    row_id: int
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyKey:
    """A key of a compacted topic whose state is to be published."""

    topic: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one transaction left in the outbox; parts of it are joined with `+`."""

    facts: tuple[Facts, ...] = ()
    dirty: tuple[DirtyKey, ...] = ()

    def __add__(self, other: "Written") -> "Written":
        return Written(facts=self.facts + other.facts, dirty=self.dirty + other.dirty)


async def store_facts(connection: Connection, records: Sequence[Record]) -> Written:
    """Store records for publication, as one row, in the caller's transaction."""
    if not records:
        return Written()
    row_id = await connection.fetchval(
        "insert into outbox (records) values ($1) returning id", msgspec.msgpack.encode(records)
    )
    return Written(facts=(Facts(row_id=row_id, records=tuple(records)),))


async def mark_dirty(connection: Connection, topic: str, keys: Sequence[str]) -> Written:
    """Note that the state under these keys changed, in the transaction that changes it.

    Marking locks the key's mark until the commit; keys are taken in order, so mark all keys of a
    topic in one call.
    """
    unique = sorted(set(keys))
    if not unique:
        return Written()
    await connection.execute(
        """
        insert into outbox_dirty (topic, key)
        select $1, key from unnest($2::text[]) with ordinality as changed (key, place)
        order by place
        on conflict (topic, key) do update set mark = excluded.mark, due_at = excluded.due_at
        """,
        topic,
        unique,
    )
    return Written(dirty=tuple(DirtyKey(topic=topic, key=key) for key in unique))
