"""Forgets what nothing can need any more: few rows at a time, so that nobody waits for it."""

from datetime import datetime, timedelta
from typing import Final

from typing_extensions import override

from services.billing.domain.period import first_id_at, period_of_month
from services.billing.ports.upkeep import Upkeep
from shared.postgres.errors import translate
from shared.postgres.inbox import forget_before
from shared.postgres.pool import Connection, Pool, in_transaction

_SECONDS: Final = """
delete from shared_seconds where ctid in (
    select ctid from shared_seconds where second < $1 limit $2 for update skip locked
)
"""
# Billing may not change them, and so not lock them either.
_REFUSALS: Final = """
delete from spend_refusals where ctid in (
    select ctid from spend_refusals where created_at < now() - $1::interval limit $2
)
"""
_LAST_SEALED: Final = "select max(month) from month_seals"
# Ids sort by the time at which their generations started: the oldest are found without a search.
_PAST_HOLDS: Final = """
delete from holds where hold_id in (
    select hold_id from holds join hold_endings using (hold_id)
    where hold_id < $1 and not is_open and month <= $2
      and hold_until < now() - $3::interval and ended_at < now() - $3::interval
    order by hold_id limit $4 for update of holds skip locked
)
"""
_DELETED_KEYS: Final = """
select api_key_hash, account_id from deleted_keys where deleted_at < now() - $1::interval
order by deleted_at limit $2 for update skip locked
"""
# As postings do it, who change days under their account's lock.
_LOCK_ACCOUNTS: Final = """
select from accounts where account_id = any($1::text[]) order by account_id for update
"""
_FOLD_KEYS: Final = """
with gone as (
    delete from deleted_keys where api_key_hash = any($1::text[])
    returning account_id, api_key_hash
), limits as (
    delete from api_key_limits using gone where api_key_limits.api_key_hash = gone.api_key_hash
), days as (
    delete from spending_days using gone
    where spending_days.account_id = gone.account_id
      and spending_days.api_key_hash = gone.api_key_hash
    returning spending_days.*
)
insert into spending_days as known (account_id, api_key_hash, day, credits_nano_usd,
                                    byok_list_cost_nano_usd, requests)
select account_id, '', date '1970-01-01', sum(credits_nano_usd), sum(byok_list_cost_nano_usd), sum(requests)
from days group by account_id
on conflict (account_id, api_key_hash, day) do update set
    credits_nano_usd = known.credits_nano_usd + excluded.credits_nano_usd,
    byok_list_cost_nano_usd = known.byok_list_cost_nano_usd + excluded.byok_list_cost_nano_usd,
    requests = known.requests + excluded.requests
"""


class PostgresUpkeep(Upkeep):
    """Each call is one short transaction: killed in it, nothing is forgotten."""

    def __init__(self, pool: Pool) -> None:
        """Use an open pool."""
        self._pool = pool

    @override
    async def forget_taken(self, before: datetime, *, rows_max: int) -> int:
        with translate():
            async with self._pool.acquire() as connection:
                return await forget_before(connection, before, rows_max=rows_max)

    @override
    async def forget_seconds(self, before: datetime, *, rows_max: int) -> int:
        return await self._delete(_SECONDS, int(before.timestamp()), rows_max)

    @override
    async def forget_refusals(self, kept: timedelta, *, rows_max: int) -> int:
        return await self._delete(_REFUSALS, kept, rows_max)

    @override
    async def forget_holds(self, kept: timedelta, *, rows_max: int) -> int:
        async def forget(connection: Connection) -> int:
            last_sealed: str | None = await connection.fetchval(_LAST_SEALED)
            if last_sealed is None:
                return 0
            now: datetime = await connection.fetchval("select now()")
            until = min(period_of_month(last_sealed).end, now - kept)
            status = await connection.execute(
                _PAST_HOLDS, first_id_at(until), last_sealed, kept, rows_max
            )
            return _rows(status)

        return await in_transaction(self._pool, forget)

    @override
    async def forget_deleted_keys(self, kept: timedelta, *, keys_max: int) -> int:
        async def forget(connection: Connection) -> int:
            rows = await connection.fetch(_DELETED_KEYS, kept, keys_max)
            if rows:
                await connection.execute(_LOCK_ACCOUNTS, [row["account_id"] for row in rows])
                await connection.execute(_FOLD_KEYS, [row["api_key_hash"] for row in rows])
            return len(rows)

        return await in_transaction(self._pool, forget)

    async def _delete(self, statement: str, past: int | timedelta, rows_max: int) -> int:
        with translate():
            status = await self._pool.execute(statement, past, rows_max)
        return _rows(status)


def _rows(status: str) -> int:
    return int(status.rpartition(" ")[2])
