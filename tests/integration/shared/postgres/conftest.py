"""A schema of its own for every test, on the session's real server."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy.local.postgres import DATABASE, Postgres
from shared.postgres import outbox
from shared.postgres.config import PostgresConfig
from shared.postgres.pool import Pool, open_pool
from shared.secret import Secret
from tests.conftest import Infrastructure

SQL_FOLDER = Path(outbox.__file__).parent
_numbers = itertools.count(1)

Administrator = Callable[[str], Awaitable[str]]


@pytest.fixture
async def as_administrator(infrastructure: Infrastructure) -> AsyncIterator[Administrator]:
    """Runs a statement as the server's superuser."""
    port = urlsplit(infrastructure.postgres_url("billing")).port
    assert port is not None
    server = Postgres(options=infrastructure.stack.options, ports={"postgres": port})
    url = server.url("postgres").removesuffix("/postgres") + f"/{DATABASE}"
    connection = await asyncpg.connect(url, timeout=5)
    try:
        yield connection.execute
    finally:
        await connection.close()


@pytest.fixture
async def config(
    infrastructure: Infrastructure, as_administrator: Administrator
) -> AsyncIterator[PostgresConfig]:
    """The settings of a service whose schema is still empty."""
    role = f"trial_{next(_numbers)}"
    for statement in (
        f"create role {role} login password 'trial'",
        f"alter role {role} set search_path = {role}",
        f"grant connect on database {DATABASE} to {role}",
        f"create schema {role} authorization {role}",
    ):
        await as_administrator(statement)
    address = urlsplit(infrastructure.postgres_url("billing")).netloc.rpartition("@")[2]
    yield PostgresConfig(
        url=Secret(f"postgresql://{role}:trial@{address}/{DATABASE}"),
        pool_max=4,
        statement_timeout_seconds=2,
        connect_timeout_seconds=2,
        start_wait_seconds=2,
    )
    await as_administrator(f"drop schema {role} cascade")
    await as_administrator(f"drop owned by {role}")
    await as_administrator(f"drop role {role}")


@pytest.fixture
async def pool(config: PostgresConfig) -> AsyncIterator[Pool]:
    async with open_pool(config, application_name="trial") as pool:
        yield pool


@pytest.fixture
async def boxes(pool: Pool) -> Pool:
    """A pool whose schema has the outbox and the inbox."""
    for name in ("outbox.sql", "inbox.sql"):
        await pool.execute((SQL_FOLDER / name).read_text("utf-8"))
    return pool
