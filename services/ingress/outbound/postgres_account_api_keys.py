"""An account's API keys, as the account itself administers them.

Every change raises the row's version and marks its key dirty in the same transaction. Once it is
committed it is told at once; what Kafka does not take then, the sweeper sends later.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from typing_extensions import override

from services.ingress.domain.api_key import ApiKey
from services.ingress.domain.api_key_forms import KeyChanges, NewKey
from services.ingress.outbound.postgres_api_keys import limit_of
from services.ingress.ports import AccountApiKeys
from shared.events.topics import API_KEYS_STATE
from shared.ids import AccountId, ApiKeyHash, MemberId
from shared.postgres.errors import translate
from shared.postgres.outbox import Written, mark_dirty
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import Connection, Pool, in_transaction

T = TypeVar("T")

_COLUMNS: Final = """
    hash, name, label, disabled, byok_only, limit_nano_usd, limit_reset, include_byok_in_limit,
    expires_at, member_id, created_at, updated_at
"""
_OWN: Final = "account_id = $1 and not management and deleted_at is null"
_SHOWN: Final = f"""
{_OWN} and ($2 or not disabled)
    and ($3::timestamptz is null or expires_at is null or $3 < expires_at)
"""
_PAGE: Final = f"""
select {_COLUMNS} from api_keys where {_SHOWN} order by created_at, hash offset $4 limit $5
"""  # noqa: S608 - constants only
_COUNT: Final = f"select count(*) from api_keys where {_SHOWN}"  # noqa: S608 - as above
_GET: Final = f"select {_COLUMNS} from api_keys where {_OWN} and hash = $2"  # noqa: S608 - as above
_COUNT_OWN: Final = f"select count(*) from api_keys where {_OWN}"  # noqa: S608 - as above
_ADD: Final = f"""
insert into api_keys (account_id, hash, label, name, member_id, byok_only, limit_nano_usd,
                      limit_reset, include_byok_in_limit, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning {_COLUMNS}
"""  # noqa: S608 - as above
_DELETE: Final = f"""
update api_keys set deleted_at = clock_timestamp(), version = version + 1
where {_OWN} and hash = $2 returning hash
"""  # noqa: S608 - as above
_CHANGED: Final = {
    "name": "name",
    "is_disabled": "disabled",
    "limit_nano_usd": "limit_nano_usd",
    "limit_reset": "limit_reset",
    "includes_byok": "include_byok_in_limit",
    "is_byok_only": "byok_only",
}
"""The column of each change."""


class PostgresAccountApiKeys(AccountApiKeys):
    """The rows of `api_keys` that are not management keys and not deleted."""

    def __init__(self, pool: Pool, relay: OutboxRelay) -> None:
        """`relay` publishes what is committed."""
        self._pool = pool
        self._relay = relay

    @override
    async def page(
        self,
        account_id: AccountId,
        *,
        offset: int,
        limit: int,
        with_disabled: bool,
        unexpired_at: datetime | None,
    ) -> tuple[list[ApiKey], int]:
        shown = (account_id, with_disabled, unexpired_at)
        with translate():
            rows = await self._pool.fetch(_PAGE, *shown, offset, limit)
            total = await self._pool.fetchval(_COUNT, *shown)
        return [_key(row) for row in rows], total

    @override
    async def get(self, account_id: AccountId, api_key_hash: ApiKeyHash) -> ApiKey | None:
        with translate():
            row = await self._pool.fetchrow(_GET, account_id, api_key_hash)
        return None if row is None else _key(row)

    @override
    async def add(
        self,
        account_id: AccountId,
        new: NewKey,
        *,
        api_key_hash: ApiKeyHash,
        label: str,
        keys_max: int,
    ) -> ApiKey | None:
        async def work(connection: Connection) -> tuple[ApiKey | None, Written]:
            # one at a time, or two would both find room for one
            await connection.execute(
                "select from accounts where id = $1 for no key update", account_id
            )
            if await connection.fetchval(_COUNT_OWN, account_id) >= keys_max:
                return None, Written()
            row = await connection.fetchrow(
                _ADD,
                account_id,
                api_key_hash,
                label,
                new.name,
                new.member_id,
                new.is_byok_only,
                new.limit.amount_nano_usd,
                new.limit.reset,
                new.limit.includes_byok,
                new.expires_at,
            )
            return _key(row), await _mark(connection, api_key_hash)

        return await self._told(work)

    @override
    async def change(
        self, account_id: AccountId, api_key_hash: ApiKeyHash, changes: KeyChanges
    ) -> ApiKey | None:
        given = {
            column: value
            for name, column in _CHANGED.items()
            if (value := getattr(changes, name)) is not msgspec.UNSET
        }
        if not given:
            return await self.get(account_id, api_key_hash)
        assignments = ", ".join(f"{column} = ${i}" for i, column in enumerate(given, start=3))

        async def work(connection: Connection) -> tuple[ApiKey | None, Written]:
            row = await connection.fetchrow(
                f"update api_keys set {assignments}, version = version + 1,"  # noqa: S608 - columns are of _CHANGED
                " had_limit = had_limit or limit_nano_usd is not null,"
                f" updated_at = clock_timestamp() where {_OWN} and hash = $2 returning {_COLUMNS}",
                account_id,
                api_key_hash,
                *given.values(),
            )
            if row is None:
                return None, Written()
            return _key(row), await _mark(connection, api_key_hash)

        return await self._told(work)

    @override
    async def delete(self, account_id: AccountId, api_key_hash: ApiKeyHash) -> bool:
        async def work(connection: Connection) -> tuple[bool, Written]:
            if await connection.fetchval(_DELETE, account_id, api_key_hash) is None:
                return False, Written()
            return True, await _mark(connection, api_key_hash)

        return await self._told(work)

    async def _told(self, work: Callable[[Connection], Awaitable[tuple[T, Written]]]) -> T:
        """Commit, then tell."""
        result, written = await in_transaction(self._pool, work)
        await self._relay.publish_now(written)
        return result


async def _mark(connection: Connection, api_key_hash: ApiKeyHash) -> Written:
    return await mark_dirty(connection, API_KEYS_STATE.name, [api_key_hash])


def _key(row: Any) -> ApiKey:
    return ApiKey(
        api_key_hash=ApiKeyHash(row["hash"]),
        name=row["name"],
        label=row["label"],
        is_disabled=row["disabled"],
        is_byok_only=row["byok_only"],
        limit=limit_of(row),
        expires_at=row["expires_at"],
        member_id=None if row["member_id"] is None else MemberId(row["member_id"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
