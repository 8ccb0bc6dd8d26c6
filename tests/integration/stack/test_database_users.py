from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deploy.local.postgres import SCHEMAS
from tests.conftest import Infrastructure

pytestmark = pytest.mark.connected


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("service", SCHEMAS)
async def test_a_service_makes_its_tables_in_its_own_schema(
    infrastructure: Infrastructure, service: str
) -> None:
    async with _connected(infrastructure.postgres_url(service)) as connection:
        await connection.execute("CREATE TABLE of_my_own (secret TEXT)")
        found = await connection.fetchval("SELECT 'of_my_own'::regclass::oid IS NOT NULL")
        schema = await connection.fetchval("SELECT current_schema()")
        await connection.execute("DROP TABLE of_my_own")

    assert (found, schema) == (True, service)


@pytest.mark.parametrize("service", SCHEMAS)
async def test_a_service_can_neither_read_nor_write_in_anothers_schema(
    infrastructure: Infrastructure, service: str
) -> None:
    for other in [*SCHEMAS, "public"]:
        if other == service:
            continue
        async with _connected(infrastructure.postgres_url(service)) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"TABLE {other}.of_my_own")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"CREATE TABLE {other}.intruder (text TEXT)")


@pytest.mark.parametrize("service", SCHEMAS)
async def test_a_wrong_password_is_refused(infrastructure: Infrastructure, service: str) -> None:
    url = infrastructure.postgres_url(service)
    password = url.split(":")[2].split("@")[0]

    with pytest.raises(asyncpg.InvalidPasswordError):
        async with _connected(url.replace(password, "made-up")):
            pass


async def test_what_is_committed_is_on_disk(infrastructure: Infrastructure) -> None:
    async with _connected(infrastructure.postgres_url("billing")) as connection:
        settings = [
            await connection.fetchval(f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        ]

    assert settings == ["on", "on", "on"]
