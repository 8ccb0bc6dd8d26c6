"""Brings a service's schema up to its code: numbered SQL files, each once, in order.

`0001_accounts.sql`, `0002_sessions.sql`, ... run each in a transaction and are recorded with their
SHA-256 in the table `migrations` of the connection's own schema. An applied file never changes:
what is wrong is put right by a new one.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from shared.errors import OpenRouteError
from shared.postgres.errors import translate
from shared.postgres.pool import Connection, Pool

_NAME = re.compile(r"(?P<number>\d{4})_[a-z0-9_]+\.sql")
_LOCK_WAIT_SECONDS = 120.0  # another instance is migrating
_FILE_SECONDS = 600.0
_TABLE = """
create table if not exists migrations (
    name text primary key,
    sha256 text not null,
    applied_at timestamptz not null default clock_timestamp()
)
"""


class MigrationProblem(OpenRouteError):  # noqa: N818 - reads as what it is
    """The files and the schema do not fit together; the message names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    name: str
    sql: str
    sha256: str


async def migrate(pool: Pool, folder: Path) -> list[str]:
    """Apply what is missing and return the names of the files applied now.

    Instances that start together take turns. Raises MigrationProblem when an applied file changed
    or is gone, when a file sorts before one applied already, or when its SQL fails (then nothing of
    that file stays); Unavailable when PostgreSQL does not answer.
    """
    files = await asyncio.to_thread(_read, folder)
    with translate():
        async with pool.acquire() as connection:
            # A migration may take longer than a statement of the hot path; our deadlines replace
            # the server's.
            await connection.execute("set statement_timeout = 0; set lock_timeout = 0")
            try:
                pending = await _bring_up(connection, files)
            finally:
                await connection.execute("reset all; select pg_advisory_unlock_all()")
    return [file.name for file in pending]


async def _bring_up(connection: Connection, files: Sequence[_File]) -> list[_File]:
    await connection.execute(
        "select pg_advisory_lock(hashtextextended('openroute.migrations.' || current_schema(), 0))",
        timeout=_LOCK_WAIT_SECONDS,
    )
    await connection.execute(_TABLE)
    rows = await connection.fetch("select name, sha256 from migrations")
    pending = _pending(files, {row["name"]: row["sha256"] for row in rows})
    for file in pending:
        await _apply(connection, file)
    return pending


def _read(folder: Path) -> list[_File]:
    files: list[_File] = []
    numbers: dict[str, str] = {}
    for path in sorted(folder.glob("*.sql")):
        matched = _NAME.fullmatch(path.name)
        if matched is None:
            raise MigrationProblem(f"{path.name}: the name must be like 0001_accounts.sql")
        twin = numbers.setdefault(matched["number"], path.name)
        if twin != path.name:
            raise MigrationProblem(f"{path.name}: its number is taken by {twin}")
        content = path.read_bytes()
        files.append(
            _File(
                name=path.name,
                sql=content.decode("utf-8"),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    if not files:
        raise MigrationProblem(f"{folder.name}: holds no migration")
    return files


def _pending(files: Sequence[_File], applied: Mapping[str, str]) -> list[_File]:
    by_name = {file.name: file for file in files}
    for name, sha256 in sorted(applied.items()):
        file = by_name.get(name)
        if file is None:
            raise MigrationProblem(f"{name}: was applied, but the file is gone")
        if file.sha256 != sha256:
            raise MigrationProblem(f"{name}: was changed after it was applied; add a new file")
    pending = [file for file in files if file.name not in applied]
    last_applied = max(applied, default="")
    for file in pending:
        if file.name < last_applied:
            raise MigrationProblem(f"{file.name}: sorts before {last_applied}, applied already")
    return pending


async def _apply(connection: Connection, file: _File) -> None:
    try:
        async with connection.transaction():
            await connection.execute(file.sql, timeout=_FILE_SECONDS)
            await connection.execute(
                "insert into migrations (name, sha256) values ($1, $2)", file.name, file.sha256
            )
    except asyncpg.PostgresError as error:
        raise MigrationProblem(f"{file.name}: {error}") from error
