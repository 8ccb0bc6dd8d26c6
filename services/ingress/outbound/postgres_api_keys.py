"""Accounts, members and API keys in ingress' own schema, for reading on the request path."""

from collections.abc import Collection
from typing import Any

from typing_extensions import override

from services.ingress.domain.api_key import Caller
from services.ingress.domain.key_limit import KeyLimit
from services.ingress.ports import ApiKeys, Members
from shared.ids import AccountId, ApiKeyHash, MemberId
from shared.postgres.errors import translate
from shared.postgres.pool import Pool

_FIND = """
select k.account_id, k.member_id, k.label, k.management,
    a.byok_only as account_byok_only, k.byok_only as key_byok_only,
    k.limit_nano_usd, k.limit_reset, k.include_byok_in_limit, k.expires_at,
    case when k.had_limit or k.limit_nano_usd is not null then k.version end as limit_version
from api_keys k join accounts a on a.id = k.account_id
where k.hash = $1 and not k.disabled and k.deleted_at is null
"""
_LIVE = """
select hash from api_keys
where account_id = $1 and hash = any($2::text[]) and not disabled and deleted_at is null
    and (expires_at is null or clock_timestamp() < expires_at)
"""
_MEMBERS = "select id::text from members where account_id = $1 and id::text = any($2::text[])"
_KEYS_OF_MEMBER = "select hash from api_keys where account_id = $1 and member_id::text = $2"


class PostgresApiKeys(ApiKeys, Members):
    """The books, read with the pool's deadlines."""

    def __init__(self, pool: Pool) -> None:
        """Use an open pool."""
        self._pool = pool

    @override
    async def find(self, api_key_hash: ApiKeyHash) -> Caller | None:
        with translate():
            row = await self._pool.fetchrow(_FIND, api_key_hash)
        if row is None:
            return None
        return Caller(
            account_id=AccountId(row["account_id"]),
            api_key_hash=api_key_hash,
            member_id=None if row["member_id"] is None else MemberId(row["member_id"]),
            label=row["label"],
            is_management=row["management"],
            byok_only_by=(
                *(("account",) if row["account_byok_only"] else ()),
                *(("api_key",) if row["key_byok_only"] else ()),
            ),
            limit=limit_of(row),
            limit_version=row["limit_version"],
            expires_at=row["expires_at"],
        )

    @override
    async def live_key_hashes(
        self, account_id: AccountId, hashes: Collection[ApiKeyHash]
    ) -> set[ApiKeyHash]:
        with translate():
            rows = await self._pool.fetch(_LIVE, account_id, list(hashes))
        return {ApiKeyHash(row["hash"]) for row in rows}

    @override
    async def members(
        self, account_id: AccountId, member_ids: Collection[MemberId]
    ) -> set[MemberId]:
        with translate():
            rows = await self._pool.fetch(_MEMBERS, account_id, list(member_ids))
        return {MemberId(row["id"]) for row in rows}

    @override
    async def key_hashes_of(self, account_id: AccountId, member_id: MemberId) -> set[ApiKeyHash]:
        with translate():
            rows = await self._pool.fetch(_KEYS_OF_MEMBER, account_id, member_id)
        return {ApiKeyHash(row["hash"]) for row in rows}


def limit_of(row: Any) -> KeyLimit:
    """The limit in a row of `api_keys`."""
    return KeyLimit(
        amount_nano_usd=row["limit_nano_usd"],
        reset=row["limit_reset"],
        includes_byok=row["include_byok_in_limit"],
    )
