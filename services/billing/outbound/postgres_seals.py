"""Closing months and sealing them.

The hash is SHA-256 over the columns' names, the seal of the month before, and each row of transfers
and then of generations as PostgreSQL writes a row as text, ordered by id.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from services.billing.ports.reconciliation import MonthRows, Seal
from shared.postgres.errors import translate
from shared.postgres.pool import Connection, Pool, in_transaction

_ROWS_AT_ONCE: Final = 2_000
_SECONDS_MAX: Final = 600
_SEALS: Final = """
select month, transfers, generations, amount_nano_usd, transfer_columns, generation_columns,
       previous_sha256, sha256
from month_seals order by month
"""
_COLUMNS: Final = """
select attname from pg_attribute
where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attname
"""
_FIRST_UNSEALED: Final = """
select min(month) from (
    select min(month) as month from transfers
    where month > coalesce((select max(month) from month_seals), '')
    union all
    select min(month) from generations
    where month > coalesce((select max(month) from month_seals), '')
) as months
"""
_STORE: Final = """
insert into month_seals (month, transfers, generations, amount_nano_usd, transfer_columns,
                         generation_columns, previous_sha256, sha256)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def read_seals(connection: Connection) -> list[Seal]:
    """All seals, oldest first."""
    return [
        Seal(
            month=row["month"],
            transfers=row["transfers"],
            generations=row["generations"],
            amount_nano_usd=int(row["amount_nano_usd"]),
            transfer_columns=tuple(row["transfer_columns"]),
            generation_columns=tuple(row["generation_columns"]),
            previous_sha256=row["previous_sha256"],
            sha256=row["sha256"],
        )
        for row in await connection.fetch(_SEALS)
    ]


async def columns_of(connection: Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of transfers and of generations."""
    transfers, generations = [
        tuple(row["attname"] for row in await connection.fetch(_COLUMNS, table))
        for table in ("transfers", "generations")
    ]
    return transfers, generations


async def first_unsealed_month(connection: Connection) -> str | None:
    """The earliest month with postings that has no seal."""
    month: str | None = await connection.fetchval(_FIRST_UNSEALED, timeout=_SECONDS_MAX)
    return month


async def hash_month(
    connection: Connection,
    month: str,
    *,
    columns: tuple[Sequence[str], Sequence[str]],
    previous_sha256: str,
) -> MonthRows:
    """Count and hash a month's rows, in the caller's transaction; memory does not grow with them."""
    digest = hashlib.sha256(f"{month}\n{previous_sha256}\n".encode())
    counts: list[int] = []
    for table, order, names in (
        ("transfers", "transfer_id", columns[0]),
        ("generations", "generation_id", columns[1]),
    ):
        digest.update(f"{table} {' '.join(names)}\n".encode())
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        statement = (
            f"select row({quoted})::text as line from {table} "  # noqa: S608 - names, quoted
            f'where month = $1 order by {order} collate "C"'
        )
        count = 0
        cursor = await connection.cursor(statement, month)
        while rows := await cursor.fetch(_ROWS_AT_ONCE, timeout=_SECONDS_MAX):
            count += len(rows)
            for row in rows:
                digest.update(row["line"].encode() + b"\n")
        counts.append(count)
    amount = await connection.fetchval(
        "select coalesce(sum(amount_nano_usd), 0) from transfers where month = $1",
        month,
        timeout=_SECONDS_MAX,
    )
    return MonthRows(
        transfers=counts[0],
        generations=counts[1],
        amount_nano_usd=int(amount),
        sha256=digest.hexdigest(),
    )


class PostgresSeals:
    """The port Seals."""

    def __init__(self, pool: Pool) -> None:
        """Each call is a transaction of its own."""
        self._pool = pool

    async def close(self, month: str) -> None:
        """Let nothing more be written into a month; waits for who is writing into it."""

        async def work(connection: Connection) -> None:
            await connection.execute("select close_month($1)", month)

        await in_transaction(self._pool, work)

    async def store(self, seal: Seal) -> None:
        """Keep a seal for ever."""
        with translate():
            await self._pool.execute(
                _STORE,
                seal.month,
                seal.transfers,
                seal.generations,
                seal.amount_nano_usd,
                seal.transfer_columns,
                seal.generation_columns,
                seal.previous_sha256,
                seal.sha256,
            )
