"""What operators decided about dead letters, kept for ever."""

from collections.abc import Sequence
from typing import Final

from services.billing.domain.dead_letter import Acknowledgement, DeadLetter, Position
from shared.postgres.pool import Connection, Pool, in_transaction

_ALL: Final = """
select topic, record_partition, record_offset, event_id, letter, reason, acknowledged_by,
       acknowledged_at
from acknowledged_dead_letters
"""
_STORE: Final = """
insert into acknowledged_dead_letters (topic, record_partition, record_offset, event_id, letter,
                                       reason, acknowledged_by)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict do nothing
"""


async def read_acknowledgements(connection: Connection) -> list[Acknowledgement]:
    """All of them."""
    return [
        Acknowledgement(
            position=Position(
                topic=row["topic"], partition=row["record_partition"], offset=row["record_offset"]
            ),
            event_id=row["event_id"],
            letter=row["letter"],
            reason=row["reason"],
            by=row["acknowledged_by"],
            at=row["acknowledged_at"],
        )
        for row in await connection.fetch(_ALL)
    ]


class PostgresAcknowledgements:
    """The port Acknowledgements."""

    def __init__(self, pool: Pool) -> None:
        """Each call is a transaction of its own."""
        self._pool = pool

    async def store(
        self, letters: Sequence[DeadLetter], *, reason: str, by: str
    ) -> list[Acknowledgement]:
        """Keep a decision about letters; those that have one keep it."""

        async def work(connection: Connection) -> list[Acknowledgement]:
            for each in letters:
                place = each.position
                await connection.execute(
                    _STORE,
                    place.topic,
                    place.partition,
                    place.offset,
                    each.event_id,
                    each.reason,
                    reason,
                    by,
                )
            return await read_acknowledgements(connection)

        return await in_transaction(self._pool, work)
