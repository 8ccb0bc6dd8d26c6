import asyncio
from pathlib import Path

import pytest

from shared.postgres.migrate import MigrationProblem, migrate
from shared.postgres.pool import Pool

pytestmark = pytest.mark.connected

FIRST = "create table account (id text primary key);\ncreate index on account (id);\n"
SECOND = "alter table account add column name text;"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "0001_account.sql", FIRST)
    return tmp_path


def write(folder: Path, name: str, sql: str) -> None:
    (folder / name).write_text(sql, encoding="utf-8")


async def test_what_is_missing_is_applied_in_order_and_once(pool: Pool, folder: Path) -> None:
    assert await migrate(pool, folder) == ["0001_account.sql"]
    assert await migrate(pool, folder) == []

    write(folder, "0002_name.sql", SECOND)

    assert await migrate(pool, folder) == ["0002_name.sql"]
    await pool.execute("insert into account (id, name) values ('a', 'b')")


async def test_instances_that_start_together_take_turns(pool: Pool, folder: Path) -> None:
    write(folder, "0002_name.sql", SECOND)
    write(folder, "0003_wait.sql", "select pg_sleep(0.2);")

    applied = await asyncio.gather(*(migrate(pool, folder) for _ in range(3)))

    assert sorted(applied, key=len) == [
        [],
        [],
        ["0001_account.sql", "0002_name.sql", "0003_wait.sql"],
    ]


async def test_a_migration_may_take_longer_than_a_statement(pool: Pool, folder: Path) -> None:
    write(folder, "0002_slow.sql", "select pg_sleep(2.5);")  # statement_timeout here is 2 s

    assert len(await migrate(pool, folder)) == 2
    assert await pool.fetchval("show statement_timeout") == "2s"


async def test_a_file_changed_after_it_was_applied_is_named(pool: Pool, folder: Path) -> None:
    await migrate(pool, folder)
    write(folder, "0001_account.sql", FIRST + "-- better")

    with pytest.raises(MigrationProblem, match=r"0001_account\.sql: was changed"):
        await migrate(pool, folder)


async def test_an_applied_file_that_is_gone_is_named(pool: Pool, folder: Path) -> None:
    write(folder, "0002_name.sql", SECOND)
    await migrate(pool, folder)
    (folder / "0001_account.sql").unlink()

    with pytest.raises(MigrationProblem, match=r"0001_account\.sql: was applied, but"):
        await migrate(pool, folder)


async def test_a_file_that_sorts_before_an_applied_one_is_named(pool: Pool, folder: Path) -> None:
    await migrate(pool, folder)
    write(folder, "0000_late.sql", SECOND)

    with pytest.raises(MigrationProblem, match=r"0000_late\.sql: sorts before"):
        await migrate(pool, folder)


async def test_a_file_whose_sql_fails_leaves_nothing_and_is_named(pool: Pool, folder: Path) -> None:
    write(folder, "0002_broken.sql", "create table half (n integer); select nonsense;")

    with pytest.raises(MigrationProblem, match=r"0002_broken\.sql: .*nonsense"):
        await migrate(pool, folder)

    assert await pool.fetchval("select to_regclass('half')") is None
    assert [row["name"] for row in await pool.fetch("select name from migrations")] == [
        "0001_account.sql"
    ]


@pytest.mark.parametrize("name", ["2_account.sql", "0001_other.sql", "0002-dash.sql"])
async def test_a_name_that_does_not_fit_is_named(pool: Pool, folder: Path, name: str) -> None:
    write(folder, name, SECOND)

    with pytest.raises(MigrationProblem, match=name):
        await migrate(pool, folder)
