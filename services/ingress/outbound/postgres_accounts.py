"""Accounts and their API keys, as operators make and change them.

Every change raises the row's version and marks its key dirty in the same transaction, so that the
world hears of it (shared/postgres/outbox.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import msgspec

from services.ingress.domain.api_key import rfc3339
from shared.events.accounts import AccountChanged, ApiKeyChanged, SharedLimit
from shared.events.billing import AllotmentRule
from shared.events.topics import ACCOUNTS_STATE, API_KEYS_STATE
from shared.ids import AccountId, ApiKeyHash, MemberId
from shared.kafka.producer import EventProducer
from shared.kafka.record import Record
from shared.postgres.dirty_keys import one_by_one
from shared.postgres.outbox import Written, mark_dirty
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import Connection, Pool, in_transaction

POLICY_COLUMNS: Final = frozenset(
    {
        "byok_only",
        "fee_percent",
        "allotment_rule",
        "free_requests",
        "free_list_cost_nano_usd",
        "shared_limits",
    }
)
_POLICY: Final = (
    "byok_only, fee_percent, allotment_rule, free_requests,"
    " free_list_cost_nano_usd::bigint as free_list_cost_nano_usd, shared_limits, version"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A row of the books; the key itself is not in it."""

    api_key_hash: ApiKeyHash
    label: str
    name: str
    is_management: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An account's policy as it stands."""

    byok_only: bool
    fee_percent: Decimal | None
    allotment_rule: AllotmentRule | None
    free_requests: int | None
    free_list_cost_nano_usd: int | None
    shared_limits: dict[str, dict[str, int]] | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedApiKey:
    """An API key whose row was changed; `is_published` once Kafka has acknowledged its new state."""

    account_id: AccountId
    is_published: bool


class PostgresAccounts:
    """Makes accounts and changes their policy; returns once Kafka knows or will know."""

    def __init__(self, pool: Pool, producer: EventProducer) -> None:
        """What is committed is published at once, or by the sweeper of any ingress process."""
        self._pool = pool
        self._relay = OutboxRelay(pool, producer, one_by_one(StateReader(producer)))

    async def create(
        self, *, account_id: AccountId, name: str, owner_id: MemberId, keys: list[NewApiKey]
    ) -> int:
        """Make an account with its owner and keys; gives the policy's version."""

        async def work(connection: Connection) -> Written:
            await connection.execute(
                "insert into accounts (id, name) values ($1, $2)", account_id, name
            )
            await connection.execute(
                "insert into members (id, account_id, role) values ($1, $2, 'owner')",
                owner_id,
                account_id,
            )
            await connection.executemany(
                "insert into api_keys (hash, account_id, member_id, label, name, management)"
                " values ($1, $2, $3, $4, $5, $6)",
                [
                    (k.api_key_hash, account_id, owner_id, k.label, k.name, k.is_management)
                    for k in keys
                ],
            )
            hashes = [key.api_key_hash for key in keys]
            accounts = await mark_dirty(connection, ACCOUNTS_STATE.name, [account_id])
            return accounts + await mark_dirty(connection, API_KEYS_STATE.name, hashes)

        await self._relay.publish_now(await in_transaction(self._pool, work))
        return 1

    async def change_policy(
        self, account_id: AccountId, changes: Mapping[str, object]
    ) -> Policy | None:
        """Set columns of POLICY_COLUMNS; None when there is no such account."""
        if not changes or not changes.keys() <= POLICY_COLUMNS:
            raise ValueError("name columns of the policy")
        assignments = ", ".join(f"{name} = ${i}" for i, name in enumerate(changes, start=2))

        async def work(connection: Connection) -> tuple[Policy | None, Written]:
            row = await connection.fetchrow(
                f"update accounts set {assignments}, version = version + 1 where id = $1"  # noqa: S608 - names are of POLICY_COLUMNS
                f" returning {_POLICY}",
                account_id,
                *changes.values(),
            )
            if row is None:
                return None, Written()
            return Policy(**row), await mark_dirty(connection, ACCOUNTS_STATE.name, [account_id])

        policy, written = await in_transaction(self._pool, work)
        await self._relay.publish_now(written)
        return policy

    async def change_api_key(
        self, api_key_hash: ApiKeyHash, *, byok_only: bool
    ) -> ChangedApiKey | None:
        """Set what the key may use; None when there is no such key."""

        async def work(connection: Connection) -> tuple[AccountId | None, Written]:
            account_id = await connection.fetchval(
                "update api_keys set byok_only = $2, version = version + 1,"
                " updated_at = clock_timestamp()"
                " where hash = $1 and deleted_at is null returning account_id",
                api_key_hash,
                byok_only,
            )
            if account_id is None:
                return None, Written()
            written = await mark_dirty(connection, API_KEYS_STATE.name, [api_key_hash])
            return AccountId(account_id), written

        account_id, written = await in_transaction(self._pool, work)
        if account_id is None:
            return None
        is_published = await self._relay.publish_now(written)
        return ChangedApiKey(account_id=account_id, is_published=is_published)

    async def exists(self, account_id: AccountId) -> bool:
        """Whether there is such an account."""

        async def work(connection: Connection) -> bool:
            found = await connection.fetchval("select 1 from accounts where id = $1", account_id)
            return found is not None

        return await in_transaction(self._pool, work)


class StateReader:
    """Reads an account or an API key as the record that stands for it."""

    def __init__(self, producer: EventProducer) -> None:
        """The producer makes records in its instance's name."""
        self._producer = producer

    async def __call__(self, connection: Connection, topic: str, key: str) -> Record | None:
        """The record of the key's present state; None when the row is gone."""
        if topic == ACCOUNTS_STATE.name:
            return await self._account(connection, key)
        return await self._api_key(connection, key)

    async def _account(self, connection: Connection, key: str) -> Record | None:
        row = await connection.fetchrow(
            f"select name, {_POLICY},"  # noqa: S608 - a constant
            " array(select id::text from members where account_id = accounts.id order by id)"
            " as member_ids from accounts where id = $1",
            key,
        )
        if row is None:
            return None
        state = AccountChanged(
            version=row["version"],
            account_id=AccountId(key),
            name=row["name"],
            byok_only=row["byok_only"],
            fee_percent=row["fee_percent"],
            free_requests=row["free_requests"],
            allotment_rule=row["allotment_rule"],
            free_list_cost_nano_usd=row["free_list_cost_nano_usd"],
            member_ids=tuple(MemberId(each) for each in row["member_ids"]),
            shared_limits=msgspec.convert(row["shared_limits"], dict[str, SharedLimit] | None),
        )
        return self._producer.record(ACCOUNTS_STATE, state, key=key)

    async def _api_key(self, connection: Connection, key: str) -> Record | None:
        row = await connection.fetchrow(
            "select account_id, management, disabled or deleted_at is not null as disabled,"
            " deleted_at is not null as deleted, byok_only, limit_nano_usd, limit_reset,"
            " include_byok_in_limit, expires_at, version"
            " from api_keys where hash = $1",
            key,
        )
        if row is None:
            return None
        state = ApiKeyChanged(
            version=row["version"],
            api_key_hash=ApiKeyHash(key),
            account_id=AccountId(row["account_id"]),
            management=row["management"],
            disabled=row["disabled"],
            byok_only=row["byok_only"],
            limit_nano_usd=row["limit_nano_usd"],
            limit_reset=row["limit_reset"],
            include_byok_in_limit=row["include_byok_in_limit"],
            expires_at=None if row["expires_at"] is None else rfc3339(row["expires_at"]),
            deleted=row["deleted"],
        )
        return self._producer.record(API_KEYS_STATE, state, key=key)
