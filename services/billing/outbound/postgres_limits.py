"""Limits of API keys and of shared capacity: what a page is to know of them, and what is new there."""

from typing import Any, Final

import msgspec

from services.billing.domain.key_limit import (
    KeyLimit,
    KeyUse,
    Window,
    newest_limits,
    window_of,
)
from services.billing.domain.page import Page
from services.billing.domain.rate_limit import COUNTED_SECONDS, SharedUser, UsedSeconds
from services.billing.outbound.together import Together
from services.billing.ports.ledger import Scope
from shared.events.accounts import SharedLimit
from shared.ids import AccountId, ApiKeyHash
from shared.postgres.pool import Connection

_KEY_LIMITS: Final = """
select api_key_hash, limit_nano_usd, limit_reset, include_byok, version
from api_key_limits where api_key_hash = any($1::text[])
"""
_KEY_USES: Final = """
select asked.place, spent.credits, spent.byok, held.credits as held_credits, held.byok as held_byok
from unnest($1::text[], $2::text[], $3::date[], $4::date[])
    with ordinality as asked (account_id, api_key_hash, first, next_first, place),
lateral (
    select coalesce(sum(credits_nano_usd), 0) as credits,
           coalesce(sum(byok_list_cost_nano_usd), 0) as byok
    from spending_days
    where spending_days.account_id = asked.account_id
      and spending_days.api_key_hash = asked.api_key_hash and day >= first and day < next_first
) as spent,
lateral (
    select coalesce(sum(amount_nano_usd), 0) as credits,
           coalesce(sum(worst_case_nano_usd) filter (where is_byok), 0) as byok
    from holds,
    lateral (
        select (uuid_extract_timestamp(substr(generation_id, 5)::uuid) at time zone 'UTC')::date as day
    ) as started
    where is_open and holds.api_key_hash = asked.api_key_hash and day >= first and day < next_first
) as held
"""
# The database's clock, looked at under the accounts' locks, is the same for all processes.
_SHARED: Final = """
with clock as materialized (select floor(extract(epoch from clock_timestamp()))::bigint as now)
select asked.account_id, asked.provider, clock.now, own.limits, used.*
from clock, unnest($1::text[], $2::text[]) as asked (account_id, provider)
left join shared_limits as own on own.account_id = asked.account_id,
lateral (
    select array_agg(second) as seconds, array_agg(requests) as requests, array_agg(tokens) as tokens
    from shared_seconds
    where shared_seconds.account_id = asked.account_id and shared_seconds.provider = asked.provider
      and second > clock.now - $3::bigint
) as used
"""
_STORE_KEY_LIMITS: Final = """
insert into api_key_limits as known (api_key_hash, limit_nano_usd, limit_reset, include_byok, version)
select * from unnest($1::text[], $2::numeric[], $3::text[], $4::boolean[], $5::bigint[])
on conflict (api_key_hash) do update set
    limit_nano_usd = excluded.limit_nano_usd, limit_reset = excluded.limit_reset,
    include_byok = excluded.include_byok, version = excluded.version
where known.version <= excluded.version
"""
_STORE_SHARED_LIMITS: Final = """
insert into shared_limits (account_id, limits) select * from unnest($1::text[], $2::jsonb[])
on conflict (account_id) do update set limits = excluded.limits
"""
_STORE_DELETED_KEYS: Final = """
insert into deleted_keys (api_key_hash, account_id) select * from unnest($1::text[], $2::text[])
on conflict do nothing
"""
_ADD_SECONDS: Final = """
insert into shared_seconds as known (account_id, provider, second, requests, tokens)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
on conflict (account_id, provider, second) do update set
    requests = known.requests + excluded.requests, tokens = known.tokens + excluded.tokens
"""
# Only puts tokens right: a second that nobody needs any more may be gone.
_CORRECT_SECONDS: Final = """
update shared_seconds as known set tokens = known.tokens + added.tokens
from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
    as added (account_id, provider, second, tokens)
where known.account_id = added.account_id and known.provider = added.provider
  and known.second = added.second
"""

_limits: Final = dict[str, SharedLimit]


async def read_limits(connection: Connection, page: Page, scope: Scope) -> None:
    """Read what limits say to the scope's API keys and users of shared capacity; the accounts are locked already."""
    if scope.key_days:
        await _read_key_limits(connection, page, scope)
    if scope.shared_users:
        await _read_shared(connection, page, scope.shared_users)


async def _read_key_limits(connection: Connection, page: Page, scope: Scope) -> None:
    hashes = sorted({api_key_hash for _, api_key_hash, _ in scope.key_days})
    known = [_key_limit(row) for row in await connection.fetch(_KEY_LIMITS, hashes)]
    limits = page.key_limits.limits = newest_limits((*known, *scope.told_limits))
    asked: list[tuple[AccountId, ApiKeyHash, Window]] = sorted(
        {
            (account_id, api_key_hash, window_of(limit.limit_reset, day))
            for account_id, api_key_hash, day in scope.key_days
            if (limit := limits.get(api_key_hash)) is not None and limit.limit_nano_usd is not None
        },
        key=lambda each: (each[1], each[2].first),
    )
    if not asked:
        return
    rows = await connection.fetch(
        _KEY_USES,
        [account_id for account_id, _, _ in asked],
        [api_key_hash for _, api_key_hash, _ in asked],
        [window.first for _, _, window in asked],
        [window.next_first for _, _, window in asked],
    )
    for row in rows:
        _, api_key_hash, window = asked[row["place"] - 1]
        counts_byok = limits[api_key_hash].include_byok
        page.key_limits.uses[api_key_hash, window] = KeyUse(
            spent_nano_usd=int(row["credits"]) + (int(row["byok"]) if counts_byok else 0),
            reserved_nano_usd=int(row["held_credits"])
            + (int(row["held_byok"]) if counts_byok else 0),
        )


def _key_limit(row: Any) -> KeyLimit:
    limit_nano_usd = row["limit_nano_usd"]
    return KeyLimit(
        api_key_hash=ApiKeyHash(row["api_key_hash"]),
        limit_nano_usd=None if limit_nano_usd is None else int(limit_nano_usd),
        limit_reset=row["limit_reset"],
        include_byok=row["include_byok"],
        version=row["version"],
    )


async def _read_shared(connection: Connection, page: Page, users: set[SharedUser]) -> None:
    shared = page.shared_use
    for row in await connection.fetch(_SHARED, *zip(*sorted(users), strict=True), COUNTED_SECONDS):
        account_id = AccountId(row["account_id"])
        shared.now = row["now"]
        if row["seconds"] is not None:
            shared.used[SharedUser(account_id, row["provider"])] = UsedSeconds(
                requests=dict(zip(row["seconds"], row["requests"], strict=True)),
                tokens=dict(zip(row["seconds"], row["tokens"], strict=True)),
            )
        if row["limits"] is not None:
            shared.own[account_id] = msgspec.convert(row["limits"], _limits)


def store_limits(together: Together, page: Page) -> None:
    """Store limits that changed, and what the page adds to seconds."""
    entries, added = page.entries, page.shared_use.added
    if entries.key_limits:
        rows = [
            (
                each.api_key_hash,
                each.limit_nano_usd,
                each.limit_reset,
                each.include_byok,
                each.version,
            )
            for _, each in sorted(entries.key_limits.items())
        ]
        together.add(_STORE_KEY_LIMITS, rows)
    if entries.shared_limits:
        together.add(_STORE_SHARED_LIMITS, sorted(entries.shared_limits.items()))
    together.add(_STORE_DELETED_KEYS, sorted(entries.deleted_keys.items()))
    admitted = [(*row, use.requests, use.tokens) for row, use in added.items() if use.requests]
    corrected = [(*row, use.tokens) for row, use in added.items() if not use.requests]
    together.add(_ADD_SECONDS, sorted(admitted))
    together.add(_CORRECT_SECONDS, sorted(corrected))
