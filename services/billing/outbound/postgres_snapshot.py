"""The books at one moment, row by row, as evidence for reconciliation.

One REPEATABLE READ transaction, read through cursors: memory does not grow with the books, and
billing writes on meanwhile.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import msgspec

from services.billing.domain.dead_letter import Acknowledgement
from services.billing.domain.evidence import (
    ACCOUNT,
    EVENT,
    GENERATION,
    MOVEMENT,
    Allotted,
    Booked,
    Credited,
    Ended,
    Held,
    Kept,
    Moved,
    TakenIn,
    Waiting,
    event_subject,
    movement_of,
    subject,
)
from services.billing.domain.period import CLOCKS_APART, Period, first_id_at
from services.billing.outbound.postgres_acknowledgements import read_acknowledgements
from services.billing.outbound.postgres_checks import read_books
from services.billing.outbound.postgres_seals import (
    columns_of,
    first_unsealed_month,
    hash_month,
    read_seals,
)
from services.billing.ports.ledger import Books
from services.billing.ports.reconciliation import MonthRows, Row, Seal
from shared.events import codec
from shared.events.topics import BILLING_ACCOUNTS, INFERENCE_GENERATIONS
from shared.kafka.record import Record
from shared.postgres.errors import translate
from shared.postgres.pool import Connection, Pool

STATEMENT_SECONDS_MAX: Final = 600
"""Until a statement gives its next rows: some sort or add up everything first."""
_ROWS_AT_ONCE: Final = 2_000
_GENERATIONS: Final = """
select generation_id, month, corrects_month, account_id, kind, is_byok, list_cost_nano_usd,
       collected_nano_usd, uncollected_nano_usd, run_id, extract(epoch from posted_at) as at
from generations
where month >= $1 and generation_id >= $2 and generation_id < $3
"""
_TRANSFERS: Final = """
select generation_id, transfer_id, kind, account_id, hold_id, debit, credit, amount_nano_usd, month,
       corrects_month, extract(epoch from created_at) as at
from transfers
where month >= $1 and case when generation_id is null then created_at >= $4 and created_at < $5
                           else generation_id >= $2 and generation_id < $3 end
"""
_ABANDONMENTS: Final = """
select generation_id, kind, account_id from abandonments
where month >= $1 and generation_id >= $2 and generation_id < $3
"""
_HOLDS: Final = """
select generation_id, hold_id, is_byok, waived, fee_percent, amount_nano_usd,
       extract(epoch from hold_until) as until, is_open, ending
from holds left join hold_endings using (hold_id)
where month >= $1 and generation_id >= $2 and generation_id < $3
"""
_MOVEMENTS: Final = """
select account_id, key, amount_nano_usd from credit_movements
where created_at >= $1 and created_at < $2
"""
_INBOX: Final = """
select source, event_id, record_partition, record_offset
from inbox join unnest($2::integer[], $3::bigint[]) as read (partition, begin)
  on record_partition = partition and record_offset >= begin
where topic = $1
"""
_OUTBOX: Final = "select records from outbox"
_ACCOUNTS: Final = """
select account_id, version, available_nano_usd, held_nano_usd, policy_version,
       fee_percent, allotment_rule, free_requests, free_list_cost_nano_usd,
       exists (select from outbox_dirty where topic = $1 and key = account_id) as is_dirty
from accounts
"""
_ALLOTMENTS: Final = """
select account_id, month, used + reserved as used,
       list_cost_used_nano_usd + list_cost_reserved_nano_usd as list_cost_used
from allotments
"""


class PostgresSnapshot:
    """The port BooksSnapshot, in a transaction that does not change any more."""

    def __init__(self, connection: Connection, at: datetime) -> None:
        """`at` is the database's time when the snapshot was taken."""
        self._connection = connection
        self.at = at

    async def books(self) -> Books:
        """Everything added up."""
        with translate():
            return await read_books(self._connection)

    async def rows(
        self, period: Period, facts_from: Mapping[int, int]
    ) -> AsyncIterator[Sequence[Row]]:
        """All rows about generations that started in a period, about deliveries, and accounts."""
        bounds = (period.first_month, first_id_at(period.begin), first_id_at(period.end))
        inbox = (INFERENCE_GENERATIONS.name, list(facts_from), list(facts_from.values()))
        # Whatever may have been told within the period on another machine's clock.
        moments = (period.begin - CLOCKS_APART, period.end + CLOCKS_APART)
        parts: tuple[tuple[str, tuple[Any, ...], Callable[[Any], Row]], ...] = (
            (_GENERATIONS, bounds, _booked),
            (_TRANSFERS, (*bounds, *moments), _moved),
            (_ABANDONMENTS, bounds, _ended),
            (_HOLDS, bounds, _held),
            (_MOVEMENTS, moments, _credited),
            (_INBOX, inbox, _taken_in),
            (_ACCOUNTS, (BILLING_ACCOUNTS.name,), _kept),
            (_ALLOTMENTS, (), _allotted),
        )
        for statement, arguments, to_row in parts:
            async for batch in self._batches(statement, *arguments):
                yield [to_row(row) for row in batch]
        async for batch in self._batches(_OUTBOX):
            yield [row for stored in batch for row in _waiting(stored["records"])]

    async def acknowledgements(self) -> list[Acknowledgement]:
        """What was decided about dead letters."""
        with translate():
            return await read_acknowledgements(self._connection)

    async def seals(self) -> list[Seal]:
        """All seals, oldest first."""
        with translate():
            return await read_seals(self._connection)

    async def month_rows(
        self, month: str, columns: tuple[Sequence[str], Sequence[str]], previous_sha256: str
    ) -> MonthRows:
        """The rows of a month, counted and hashed over columns and the seal before."""
        with translate():
            return await hash_month(
                self._connection, month, columns=columns, previous_sha256=previous_sha256
            )

    async def first_unsealed_month(self) -> str | None:
        """The earliest month with postings that has no seal."""
        with translate():
            return await first_unsealed_month(self._connection)

    async def columns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns of transfers and of generations, for a new seal."""
        with translate():
            return await columns_of(self._connection)

    async def _batches(self, statement: str, *arguments: object) -> AsyncIterator[list[Any]]:
        with translate():
            cursor = await self._connection.cursor(statement, *arguments)
            while rows := await cursor.fetch(_ROWS_AT_ONCE, timeout=STATEMENT_SECONDS_MAX):
                yield rows


@asynccontextmanager
async def open_snapshot(pool: Pool) -> AsyncIterator[PostgresSnapshot]:
    """The books as they are now, for as long as the block runs."""
    with translate():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            # The limits of the hot path are too short for reading everything.
            await connection.execute(
                f"set local statement_timeout = '{STATEMENT_SECONDS_MAX}s'; "
                f"set local idle_in_transaction_session_timeout = '{STATEMENT_SECONDS_MAX}s'"
            )
            at: datetime = await connection.fetchval("select clock_timestamp()")
            yield PostgresSnapshot(connection, at)


def _booked(row: Any) -> Row:
    return subject(GENERATION, row["generation_id"]), Booked(
        month=row["month"],
        corrects_month=row["corrects_month"],
        account_id=row["account_id"],
        kind=row["kind"],
        is_byok=row["is_byok"],
        list_cost=row["list_cost_nano_usd"],
        collected=row["collected_nano_usd"],
        uncollected=row["uncollected_nano_usd"],
        run_id=row["run_id"],
        at=float(row["at"]),
    )


def _moved(row: Any) -> Row:
    generation_id = row["generation_id"]
    key = (
        subject(MOVEMENT, movement_of(row["transfer_id"]))
        if generation_id is None
        else subject(GENERATION, generation_id)
    )
    return key, Moved(
        transfer_id=row["transfer_id"],
        kind=row["kind"],
        account_id=row["account_id"],
        hold_id=row["hold_id"],
        debit=row["debit"],
        credit=row["credit"],
        amount=row["amount_nano_usd"],
        month=row["month"],
        corrects_month=row["corrects_month"],
        at=float(row["at"]),
    )


def _ended(row: Any) -> Row:
    return subject(GENERATION, row["generation_id"]), Ended(
        kind=row["kind"], account_id=row["account_id"]
    )


def _held(row: Any) -> Row:
    return subject(GENERATION, row["generation_id"]), Held(
        hold_id=row["hold_id"],
        is_byok=row["is_byok"],
        waived=row["waived"],
        fee_percent=row["fee_percent"],
        amount=row["amount_nano_usd"],
        until=float(row["until"]),
        is_open=row["is_open"],
        ending=row["ending"],
    )


def _credited(row: Any) -> Row:
    return subject(MOVEMENT, f"credit/{row['account_id']}/{row['key']}"), Credited(
        account_id=row["account_id"], amount=row["amount_nano_usd"]
    )


def _taken_in(row: Any) -> Row:
    return subject(EVENT, f"{row['source']} {row['event_id']}"), TakenIn(
        partition=row["record_partition"], offset=row["record_offset"]
    )


def _waiting(stored: bytes) -> list[Row]:
    return [
        (
            event_subject(getattr(received.event, "generation_id", None), received.envelope.id),
            Waiting(event_id=received.envelope.id),
        )
        for received in (
            codec.decode(
                topic=record.topic,
                partition=0,
                offset=0,
                key=record.key,
                value=record.value,
                headers=record.headers,
            )
            for record in msgspec.msgpack.decode(stored, type=list[Record])
        )
    ]


def _kept(row: Any) -> Row:
    return subject(ACCOUNT, row["account_id"]), Kept(
        version=row["version"],
        available=row["available_nano_usd"],
        held=row["held_nano_usd"],
        policy_version=row["policy_version"],
        fee_percent=row["fee_percent"],
        allotment_rule=row["allotment_rule"],
        free_requests=row["free_requests"],
        free_list_cost=row["free_list_cost_nano_usd"],
        is_dirty=row["is_dirty"],
    )


def _allotted(row: Any) -> Row:
    return subject(ACCOUNT, row["account_id"]), Allotted(
        month=row["month"], used=row["used"], list_cost_used=row["list_cost_used"]
    )
