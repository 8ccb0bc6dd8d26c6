import asyncio
import contextlib
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import pytest

from shared.errors import Unavailable
from shared.ids import new_id
from shared.postgres.config import PostgresConfig
from shared.postgres.errors import translate
from shared.postgres.pool import Connection, Pool, in_transaction, open_pool
from shared.secret import Secret
from tests.integration.shared.postgres.conftest import Administrator

pytestmark = pytest.mark.connected


async def test_columns_come_as_the_types_that_the_project_uses(pool: Pool) -> None:
    row_id, moment = new_id(), datetime(2026, 1, 2, tzinfo=UTC)

    row = await pool.fetchrow(
        "select $1::uuid, $2::jsonb, $3::json, $4::numeric, $5::timestamptz, $6::uuid[]",
        row_id,
        {"a": [1, None]},
        "text",
        Decimal("1.50"),
        moment,
        [row_id],
    )

    assert row is not None
    assert list(row) == [row_id, {"a": [1, None]}, "text", Decimal("1.50"), moment, [row_id]]


async def test_rows_can_be_copied_in(pool: Pool) -> None:
    await pool.execute("create table copied (id uuid, body jsonb)")
    rows = [(new_id(), {"n": number}) for number in range(3)]

    await pool.copy_records_to_table("copied", records=rows)

    assert [tuple(row) for row in await pool.fetch("select id, body from copied")] == rows


async def test_the_server_ends_a_statement_that_takes_too_long(pool: Pool) -> None:
    with pytest.raises(Unavailable) as raised, translate():
        await pool.execute("select pg_sleep(10)")

    assert raised.value.dependency == "postgres"
    assert isinstance(raised.value.__cause__, asyncpg.QueryCanceledError)


async def test_waiting_for_a_free_connection_ends(config: PostgresConfig) -> None:
    small = PostgresConfig(url=config.url, pool_max=1, connect_timeout_seconds=1)
    async with open_pool(small, application_name="trial") as pool, pool.acquire():
        with pytest.raises(Unavailable), translate():
            await pool.fetchval("select 1")


async def test_a_lost_connection_is_unavailability_and_the_pool_recovers(
    config: PostgresConfig, pool: Pool, as_administrator: Administrator
) -> None:
    role = config.url.reveal().partition("//")[2].partition(":")[0]

    async def lose(connection: Connection) -> None:
        await as_administrator(
            f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'"  # noqa: S608 - a name made by the test
        )
        await connection.fetchval("select 1")

    with pytest.raises(Unavailable):
        await in_transaction(pool, lose)

    assert await pool.fetchval("select 1") == 1


async def test_a_server_that_is_not_there_is_waited_for_and_then_named() -> None:
    absent = PostgresConfig(
        url=Secret("postgresql://a:hunter2@127.0.0.1:1/x"), start_wait_seconds=1
    )
    with pytest.raises(Unavailable) as raised:
        async with asyncio.timeout(5), open_pool(absent, application_name="trial"):
            raise AssertionError("not reached")

    assert "hunter2" not in str(raised.value)


async def test_mistakes_are_not_taken_for_unavailability(pool: Pool) -> None:
    with pytest.raises(asyncpg.UndefinedTableError), translate():
        await pool.execute("select * from nowhere")
    with pytest.raises(asyncpg.InterfaceError), translate():
        await pool.fetchval("select $1::int")


async def test_what_work_did_is_undone_when_it_fails(pool: Pool) -> None:
    await pool.execute("create table kept (n integer)")

    async def fail(connection: Connection) -> None:
        await connection.execute("insert into kept values (1)")
        raise LookupError

    with pytest.raises(LookupError):
        await in_transaction(pool, fail)

    assert await pool.fetchval("select count(*) from kept") == 0


async def test_a_deadlock_is_tried_again_until_both_are_through(pool: Pool) -> None:
    await pool.execute("create table pair (n integer primary key, hits integer default 0)")
    await pool.execute("insert into pair values (1), (2)")
    both_hold_one = asyncio.Barrier(2)
    attempts: list[str] = []

    async def touch(name: str, first: int, second: int) -> None:
        async def work(connection: Connection) -> None:
            attempts.append(name)
            await connection.execute("update pair set hits = hits + 1 where n = $1", first)
            if attempts.count(name) == 1:
                await both_hold_one.wait()
            await connection.execute("update pair set hits = hits + 1 where n = $1", second)

        await in_transaction(pool, work)

    await asyncio.gather(touch("a", 1, 2), touch("b", 2, 1))

    assert len(attempts) == 3
    assert [row["hits"] for row in await pool.fetch("select hits from pair")] == [2, 2]


async def test_conflicts_without_end_are_given_up(pool: Pool) -> None:
    attempts: list[int] = []

    async def conflict(connection: Connection) -> None:
        attempts.append(1)
        await connection.execute(
            "do $$ begin raise exception 'conflict' using errcode = '40001'; end $$"
        )

    with pytest.raises(Unavailable):
        await in_transaction(pool, conflict, attempts_max=3)

    assert len(attempts) == 3


async def test_a_server_that_goes_while_nothing_is_asked_is_unavailable() -> None:
    gone = asyncio.Event()

    def message(kind: bytes, content: bytes) -> bytes:
        return kind + (len(content) + 4).to_bytes(4) + content

    async def goes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let a client in, and at once tell it that this server shuts down."""
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
        fields = b"SFATAL\0VFATAL\0C57P02\0Mterminating connection because of crash\0\0"
        version = message(b"S", b"server_version\0" + b"18.0\0")
        writer.write(message(b"R", bytes(4)) + version + message(b"Z", b"I"))
        await writer.drain()
        writer.write(message(b"E", fields))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(goes, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = await asyncpg.connect(
        host="127.0.0.1", port=port, user="u", database="d", password="p", ssl=False
    )
    with pytest.raises(Unavailable, match="connection lost"), translate():
        await connection.execute("select 1")

    async def try_and_roll_back() -> None:
        with translate():
            try:
                await connection.execute("select 1")
            finally:
                await connection.execute("rollback")

    with pytest.raises(Unavailable, match="connection lost"):
        await try_and_roll_back()
    connection.terminate()
    server.close()
    async with asyncio.timeout(5):
        await gone.wait()
