"""Fresh tables of the read side, filled beside the old ones and put in their place at once.

What is made of facts goes in first, then whatever else the old table has of what is booked. Billing
goes on meanwhile: what it adds to the old tables is carried over under a lock that it waits for,
which takes as long as moving what came since the last look.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg
from typing_extensions import override

from services.billing.domain.generation import month_of_generation
from services.billing.domain.receipt import Position
from services.billing.outbound.postgres_receipts import RECEIPT_COLUMNS, USED_BY, receipt_row
from services.billing.ports.read_side import Rebuild
from shared.errors import Unavailable
from shared.events.generations import GenerationFinished
from shared.postgres.errors import translate
from shared.postgres.pool import Connection

_STATEMENT_SECONDS_MAX: Final = 3600.0
_LOCK_SECONDS_MAX: Final = 10
_LOCK: Final = (
    "select pg_try_advisory_lock(hashtextextended('openroute.replay.' || current_schema(), 0))"
)
_BEGIN: Final = """
drop table if exists receipts_replay, receipts_replay_batch, activity_days_replay,
    activity_days_before;
create table receipts_replay (like receipts including all);
create table activity_days_replay (like activity_days including all);
create unlogged table receipts_replay_batch (like receipts including defaults);
alter table receipts_replay_batch add column run_id text not null;
"""
_COLUMNS: Final = ", ".join(RECEIPT_COLUMNS)
_BOOKED: Final = ", ".join(f"{'g' if each == 'month' else 'b'}.{each}" for each in RECEIPT_COLUMNS)
# A batch knows the months of the ids; what came late stands in another month of the books.
_ADD: Final = f"""
insert into receipts_replay ({_COLUMNS}, posted_at)
select {_BOOKED}, g.posted_at
from receipts_replay_batch b
left join late_generations late on late.generation_id = b.generation_id
join generations g
    on (g.month, g.generation_id, g.account_id, g.run_id)
     = (coalesce(late.month, b.month), b.generation_id, b.account_id, b.run_id)
order by b.record_partition, b.record_offset
on conflict do nothing
"""  # noqa: S608 - our own column names
# What is booked and was not made anew: the ledger's word, not that of the topic, says what is real.
_KEEP: Final = """
insert into receipts_replay
select r.* from receipts r
where r.posted_at >= $1 and exists (
    select from generations g
    where (g.month, g.generation_id, g.account_id) = (r.month, r.generation_id, r.account_id)
)
on conflict do nothing
"""
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TRANSACTION_MAX: Final = timedelta(minutes=10)
"""No transaction of the books takes that long: whatever is older was there at the last look."""
_FIRST_DAY: Final = "select coalesce(min(day), '9999-12-31') from receipts_replay"
_KEYS: Final = "account_id, day, model, provider, endpoint, api_key_hash, credential_id, operation"
_SUMS: Final = (
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "credits_nano_usd",
    "byok_list_cost_nano_usd",
)
_ACTIVITY_BEFORE: Final = """
create table activity_days_before as select * from activity_days;
"""
_OLD_ACTIVITY: Final = """
insert into activity_days_replay select * from activity_days where day < $1
"""
_ACTIVITY: Final = f"""
insert into activity_days_replay ({_KEYS}, {", ".join(_SUMS)})
select {USED_BY}
from (
    select * from receipts_replay
    union all
    select r.* from receipts r
    where r.posted_at >= $2 and not exists (
        select from receipts_replay known
        where (known.account_id, known.generation_id) = (r.account_id, r.generation_id)
    )
) as r
join generations g on g.month = r.month and g.generation_id = r.generation_id
where r.day >= $1 and g.kind <> 'nothing' and not exists (
    select from abandonments a
    where a.month = coalesce(g.corrects_month, g.month) and a.generation_id = g.generation_id and a.kind = 'abandoned'
)
group by 1, 2, 3, 4, 5, 6, 7, 8
"""  # noqa: S608 - constants only
# Postings only ever add to the old table, so what they added since is a difference.
_ADDED_SINCE: Final = f"""
insert into activity_days_replay as fresh ({_KEYS}, {", ".join(_SUMS)})
select {_KEYS}, {", ".join(f"coalesce(now.{name}, 0) - coalesce(before.{name}, 0)" for name in _SUMS)}
from activity_days as now full join activity_days_before as before using ({_KEYS})
where ({", ".join(f"now.{name}" for name in _SUMS)})
    is distinct from ({", ".join(f"before.{name}" for name in _SUMS)})
on conflict ({_KEYS}) do update set
    {", ".join(f"{name} = fresh.{name} + excluded.{name}" for name in _SUMS)}
"""  # noqa: S608 - our own column names
_SWAP: Final = """
delete from activity_days_replay where requests = 0;
drop table receipts, activity_days, activity_days_before, receipts_replay_batch;
alter table receipts_replay rename to receipts;
alter index receipts_replay_pkey rename to receipts_pkey;
alter index receipts_replay_posted_at_idx rename to receipts_posted_at;
alter table activity_days_replay rename to activity_days;
alter index activity_days_replay_pkey rename to activity_days_pkey;
"""


class PostgresRebuild(Rebuild):
    """One rebuild on one connection, which is nobody else's."""

    def __init__(self, connection: Connection) -> None:
        """The connection keeps the lock that makes this the only rebuild."""
        self._connection = connection
        self._first_day: date | None = None
        self._recent: datetime | None = None

    @override
    async def begin(self) -> None:
        with translate():
            await self._connection.execute("set statement_timeout = 0")
            if not await self._connection.fetchval(_LOCK):
                raise Unavailable("replay", "another one is running")
            await self._connection.execute(_BEGIN)

    @override
    async def add(self, told: Sequence[tuple[GenerationFinished, Position]]) -> int:
        if not told:
            return 0
        try:
            with translate():
                return await self._add(told)
        except asyncpg.DataError:
            # One holds what the database cannot, and so was not booked: alone each shows whether.
            if len(told) == 1:
                return 0
        return sum([await self.add([each]) for each in told])

    @override
    async def keep(self) -> int:
        with translate():
            self._first_day = await self._connection.fetchval(
                _FIRST_DAY, timeout=_STATEMENT_SECONDS_MAX
            )
            looked_at: datetime = await self._connection.fetchval("select clock_timestamp()")
            self._recent = looked_at - _TRANSACTION_MAX
            return await self._run(_KEEP, _EVER)

    @override
    async def add_up(self) -> None:
        with translate():
            # in one snapshot with what the old sums are in it
            async with self._connection.transaction(isolation="repeatable_read"):
                await self._connection.execute(_ACTIVITY_BEFORE, timeout=_STATEMENT_SECONDS_MAX)
                await self._run(_OLD_ACTIVITY, self._first_day)
                await self._run(_ACTIVITY, self._first_day, self._recent)

    @override
    async def swap(self) -> tuple[int, int]:
        with translate():
            async with self._connection.transaction():
                await self._connection.execute(f"set local lock_timeout = '{_LOCK_SECONDS_MAX}s'")
                # in the order in which postings write them
                await self._connection.execute(
                    "lock table receipts, activity_days in access exclusive mode"
                )
                await self._run(_KEEP, self._recent)
                await self._run(_ADDED_SINCE)
                await self._connection.execute(_SWAP)
            receipts: int = await self._count("receipts")
            activity: int = await self._count("activity_days")
        return receipts, activity

    async def _count(self, table: str) -> int:
        counted: int = await self._connection.fetchval(
            f"select count(*) from {table}",  # noqa: S608 - a name of our own
            timeout=_STATEMENT_SECONDS_MAX,
        )
        return counted

    async def _add(self, told: Sequence[tuple[GenerationFinished, Position]]) -> int:
        async with self._connection.transaction():
            await self._connection.copy_records_to_table(
                "receipts_replay_batch",
                records=[
                    (
                        *receipt_row(fact, position, month_of_generation(fact.generation_id)),
                        fact.run_id,
                    )
                    for fact, position in told
                ],
                columns=(*RECEIPT_COLUMNS, "run_id"),
            )
            added = await self._run(_ADD)
            await self._connection.execute("truncate receipts_replay_batch")
        return added

    async def _run(self, statement: str, *parameters: Any) -> int:
        """Run an insert and return how many rows it made."""
        status = await self._connection.execute(
            statement, *parameters, timeout=_STATEMENT_SECONDS_MAX
        )
        return int(status.rpartition(" ")[2])
