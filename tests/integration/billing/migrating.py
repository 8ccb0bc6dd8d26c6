"""Billing's migrations on a schema of their own, with rows from before one of them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from deploy.local.postgres import DATABASE, Postgres
from services.billing.wiring import MIGRATIONS
from tests.conftest import Infrastructure


@asynccontextmanager
async def migrated(
    infrastructure: Infrastructure, before: Mapping[str, str]
) -> AsyncIterator[asyncpg.Connection]:
    """All migrations, with statements carried out before the files named; nothing of it stays."""
    port = urlsplit(infrastructure.postgres_url("billing")).port
    assert port is not None
    server = Postgres(options=infrastructure.stack.options, ports={"postgres": port})
    url = server.url("postgres").removesuffix("/postgres") + f"/{DATABASE}"
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("create schema trial; set local search_path = trial")
        for name, sql in await asyncio.to_thread(_migrations):
            if name in before:
                await connection.execute(before[name])
            await connection.execute(sql)
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


def _migrations() -> list[tuple[str, str]]:
    return [(path.name, path.read_text("utf-8")) for path in sorted(MIGRATIONS.glob("*.sql"))]
