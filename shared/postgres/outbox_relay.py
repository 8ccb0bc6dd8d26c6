"""The outbox's publishing side: at once by whoever committed, later by a sweeper after a crash.

The sweeper keeps no position: reading `id > last` would skip rows that commit late with a smaller
id. It takes the oldest rows that are there, and only rows older than two seconds, which their own
process has not published; one sweeper at a time in a schema, so that rows go out in their order.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from shared.errors import Unavailable
from shared.kafka.record import Record
from shared.postgres.dirty_keys import KEYS_MAX, ReadStates, publish_dirty
from shared.postgres.errors import translate
from shared.postgres.outbox import DirtyKey, Written, mark_dirty
from shared.postgres.pool import Connection, Pool, in_transaction
from shared.telemetry.logging import get_logger

_SWEEP_SECONDS: Final = 1.0
_DELETE_SECONDS: Final = 0.2
_AGE_SECONDS: Final = 2
_ROWS_MAX: Final = 100
_PUBLISHED_MAX: Final = 50_000
"""Acknowledged rows not deleted yet; past it they are forgotten, and the sweeper repeats them."""
_PUBLISHERS_MAX: Final = 2
"""Transactions that publish dirty keys at the same time, so that they leave the pool to others."""
_FLUSH_SECONDS: Final = 2.0

_LEAD = (
    "select pg_try_advisory_xact_lock(hashtextextended('openroute.outbox.' || current_schema(), 0))"
)
_OLDEST_FACTS = """
select id, records from outbox
where created_at < clock_timestamp() - make_interval(secs => $1)
order by id limit $2 for update skip locked
"""
_DUE_KEYS = """
select topic, key from outbox_dirty where due_at <= clock_timestamp() order by due_at limit $1
"""


_Swept: TypeAlias = Literal["more", "done", "unacknowledged"]
"""What became of one batch: there may be more, there is none, or it waits for Kafka."""


class Producer(Protocol):
    """What the relay needs of Kafka; both return once acknowledged.

    They raise Unavailable when that does not happen within their own deadline, which must be
    shorter than 30 s.
    """

    async def send(self, record: Record) -> None:
        """Send one record."""
        ...

    async def send_many(self, records: Sequence[Record]) -> None:
        """Send records; those of one partition keep their order."""
        ...


class OutboxRelay:
    """Publishes one service's outbox. Every process runs `run` beside its work."""

    def __init__(self, pool: Pool, producer: Producer, read_states: ReadStates) -> None:
        """`read_states` reads the states behind the keys that this service marks dirty."""
        self._pool = pool
        self._producer = producer
        self._read_states = read_states
        self._published: list[int] = []
        self._given_up: set[DirtyKey] = set()
        self._dirty_slots = asyncio.Semaphore(_PUBLISHERS_MAX)
        self._logger = get_logger("outbox")
        self._is_failing = False

    async def publish_now(self, written: Written) -> bool:
        """Publish what a transaction wrote, right after its commit.

        True when Kafka acknowledged all of it. False when Kafka or PostgreSQL did not answer: then
        the sweeper publishes it later, and the caller has nothing to do.
        """
        try:
            await self._publish_facts(written)
            return await self._publish_keys(written.dirty)
        except Unavailable:
            return False

    async def run(self) -> None:
        """Delete what is published and sweep what was left, until cancelled."""
        loop = asyncio.get_running_loop()
        next_sweep = loop.time() + _SWEEP_SECONDS
        try:
            while True:
                await asyncio.sleep(_DELETE_SECONDS)
                try:
                    await self.flush()
                    if loop.time() >= next_sweep:
                        await self.sweep()
                        next_sweep = loop.time() + _SWEEP_SECONDS
                    self._note_success()
                except Unavailable as error:
                    self._note_failure(error)
                    next_sweep = loop.time() + _SWEEP_SECONDS
        finally:
            try:
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self.flush()
            except (Unavailable, TimeoutError) as error:
                self._note_failure(error)

    async def flush(self) -> None:
        """Delete the rows that are acknowledged. Raises Unavailable; they are kept for later."""
        row_ids, self._published = self._published, []
        if not row_ids:
            return
        try:
            with translate():
                await self._pool.execute("delete from outbox where id = any($1::bigint[])", row_ids)
        except BaseException:
            self._published = (row_ids + self._published)[-_PUBLISHED_MAX:]
            raise

    async def sweep(self) -> None:
        """Publish everything that was left behind. Raises Unavailable when that stops half way."""
        if not await self._publish_keys_given_up():
            raise Unavailable("kafka", "dirty keys are not acknowledged")
        for sweep_batch in (self._sweep_facts, self._sweep_keys):
            swept: _Swept = "more"
            while swept == "more":
                swept = await in_transaction(self._pool, sweep_batch)
            if swept == "unacknowledged":
                raise Unavailable("kafka", "dirty keys are not acknowledged")

    async def _publish_facts(self, written: Written) -> None:
        records = [record for facts in written.facts for record in facts.records]
        if records:
            await self._producer.send_many(records)
            self._published.extend(facts.row_id for facts in written.facts)

    async def _publish_keys(self, dirty: Sequence[DirtyKey]) -> bool:
        is_published = True
        for start in range(0, len(dirty), KEYS_MAX):
            keys = dirty[start : start + KEYS_MAX]

            async def publish(connection: Connection, keys: Sequence[DirtyKey] = keys) -> bool:
                return await self._publish_batch(connection, keys)

            async with self._dirty_slots:
                is_published = await in_transaction(self._pool, publish) and is_published
        return is_published

    async def _publish_keys_given_up(self) -> bool:
        """Send again, behind them, what our producer may still deliver: see `dirty_keys`."""
        while self._given_up:
            keys = list(itertools.islice(self._given_up, KEYS_MAX))

            async def mark(connection: Connection, keys: Sequence[DirtyKey] = keys) -> None:
                # Another process may have published and cleared them.
                for topic in sorted({each.topic for each in keys}):
                    _ = await mark_dirty(
                        connection, topic, [k.key for k in keys if k.topic == topic]
                    )

            # In a transaction of its own: marks locked before the keys' locks would be a deadlock.
            await in_transaction(self._pool, mark)
            if not await self._publish_keys(keys):
                return False
            self._given_up.difference_update(keys)
        return True

    async def _publish_batch(self, connection: Connection, keys: Sequence[DirtyKey]) -> bool:
        is_published = False
        try:
            is_published = await publish_dirty(
                connection, self._producer.send_many, self._read_states, keys
            )
        finally:
            if not is_published:
                self._given_up.update(keys)
        return is_published

    async def _sweep_facts(self, connection: Connection) -> _Swept:
        """Publish one batch of rows."""
        if not await connection.fetchval(_LEAD):
            return "done"
        rows = await connection.fetch(_OLDEST_FACTS, _AGE_SECONDS, _ROWS_MAX)
        records = [
            record
            for row in rows
            for record in msgspec.msgpack.decode(row["records"], type=list[Record])
        ]
        if not records:
            return "done"
        await self._producer.send_many(records)
        await connection.execute(
            "delete from outbox where id = any($1::bigint[])", [row["id"] for row in rows]
        )
        self._logger.warning("swept", rows=len(rows), records=len(records))
        return "more" if len(rows) == _ROWS_MAX else "done"

    async def _sweep_keys(self, connection: Connection) -> _Swept:
        """Publish one batch of keys."""
        if not await connection.fetchval(_LEAD):
            return "done"
        rows = await connection.fetch(_DUE_KEYS, KEYS_MAX)
        keys = [DirtyKey(topic=row["topic"], key=row["key"]) for row in rows]
        if not keys:
            return "done"
        if not await self._publish_batch(connection, keys):
            return "unacknowledged"
        return "more" if len(keys) == KEYS_MAX else "done"

    def _note_failure(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._logger.warning("outbox waits", reason=str(error))

    def _note_success(self) -> None:
        if self._is_failing:
            self._is_failing = False
            self._logger.info("outbox goes on")
