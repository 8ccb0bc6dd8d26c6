"""The inbox: an event's effect happens once, however often its record is delivered.

A service copies `inbox.sql` into a migration and calls `take_new` first thing in the transaction
that holds the effect.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from shared.events.codec import Received
from shared.postgres.pool import Connection

EventKey: TypeAlias = tuple[str, str]
"""CloudEvents' source and id, which together name an event."""


class Position(NamedTuple):
    """Where in Kafka a record was read; kept for audits."""

    topic: str
    partition: int
    offset: int


async def take_new(
    connection: Connection, consumer: str, received: Sequence[Received]
) -> list[Received]:
    """Record facts as taken in; those that were not before, in order, each once."""
    fresh = await record_new(
        connection,
        consumer,
        [(each.envelope.source, each.envelope.id) for each in received],
        [(each.topic, each.partition, each.offset) for each in received],
    )
    taken: list[Received] = []
    for each in received:
        key = (each.envelope.source, str(each.envelope.id))
        if key in fresh:
            fresh.discard(key)
            taken.append(each)
    return taken


async def record_new(
    connection: Connection,
    consumer: str,
    ids: Sequence[EventKey],
    positions: Sequence[tuple[str, int, int]],
) -> set[EventKey]:
    """Record events as taken in, and return those that were not before.

    `positions` stands beside `ids`, one (topic, partition, offset) for each. An event that stands
    twice among `ids` is returned once: apply its effect at the first. Rolls back with the caller's
    transaction. Waits for another transaction that is recording the same event.
    """
    # Sorted, so that two consumers with overlapping batches wait for each other instead of locking
    # each other out.
    rows = sorted(zip(ids, positions, strict=True))
    if not rows:
        return set()
    recorded = await connection.fetch(
        """
        insert into inbox (consumer, source, event_id, topic, record_partition, record_offset)
        select $1, source, event_id, topic, record_partition, record_offset
        from unnest($2::text[], $3::text[], $4::text[], $5::integer[], $6::bigint[])
            with ordinality
            as fresh (source, event_id, topic, record_partition, record_offset, place)
        order by place
        on conflict do nothing
        returning source, event_id
        """,
        consumer,
        [source for (source, _), _ in rows],
        [event_id for (_, event_id), _ in rows],
        [position[0] for _, position in rows],
        [position[1] for _, position in rows],
        [position[2] for _, position in rows],
    )
    return {(row["source"], row["event_id"]) for row in recorded}


async def forget_before(connection: Connection, moment: datetime, *, rows_max: int) -> int:
    """Delete up to `rows_max` rows received before `moment`, and return how many it were.

    The moment must lie further back than any record can be read again from.
    """
    status = await connection.execute(
        """
        delete from inbox where ctid in (
            select ctid from inbox where received_at < $1 limit $2 for update skip locked
        )
        """,
        moment,
        rows_max,
    )
    return int(status.rpartition(" ")[2])
