"""Checks, health and usage of credentials in PostgreSQL."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from services.key_vault.domain.check import Check, result_of
from services.key_vault.domain.health import Key, Observed, Usage, UsageKey
from services.key_vault.outbound.health_rows import (
    CHECK_COLUMNS,
    check_of,
    observed_of,
    values_of,
)
from services.key_vault.ports import HealthFacts
from shared.events.codec import Received
from shared.events.credential_health import CredentialChecked
from shared.ids import AccountId, CredentialId
from shared.postgres.errors import translate
from shared.postgres.inbox import take_new
from shared.postgres.pool import Connection, Pool, in_transaction

_CONSUMER: Final = "key-vault"
_CHECKS: Final = f"""
select credential_id, {CHECK_COLUMNS} from credential_checks
where account_id = $1 and credential_id = any($2::text[])
"""  # noqa: S608 - our own column names
_HEALTH: Final = """
select * from credential_health where account_id = $1 and credential_id = any($2::text[])
"""
_USAGE: Final = """
select credential_id, requests, fees_nano_usd from credential_usage
where account_id = $1 and credential_id = any($2::text[]) and month = $3
"""
# A credential that is gone is passed over, and one that is not must not go in between.
_LIVING: Final = """
from credentials
where account_id = $1 and credential_id = $2 and deleted_at is null
for key share
"""
_ADD_USAGE: Final = f"""
insert into credential_usage as kept (account_id, credential_id, month, requests, fees_nano_usd)
select account_id, credential_id, $3, $4, $5 {_LIVING}
on conflict (account_id, credential_id, month) do update set
    requests = kept.requests + excluded.requests,
    fees_nano_usd = kept.fees_nano_usd + excluded.fees_nano_usd
"""
_NEWER_ERROR: Final = """
excluded.error_at is not null and (kept.error_at is null or excluded.error_at >= kept.error_at)
"""
_KEEP_OBSERVED: Final = f"""
insert into credential_health as kept (
    account_id, credential_id, last_used_at, last_success_at, error_failure,
    error_provider_status, error_endpoint, error_at, cooling_down_until, observed_at)
select account_id, credential_id, $3::timestamptz, $4::timestamptz, $5::text, $6::integer,
       $7::text, $8::timestamptz, $9::timestamptz, $10::timestamptz {_LIVING}
on conflict (account_id, credential_id) do update set
    last_used_at = greatest(kept.last_used_at, excluded.last_used_at),
    last_success_at = greatest(kept.last_success_at, excluded.last_success_at),
    error_failure =
        case when {_NEWER_ERROR} then excluded.error_failure else kept.error_failure end,
    error_provider_status =
        case when {_NEWER_ERROR} then excluded.error_provider_status
        else kept.error_provider_status end,
    error_endpoint =
        case when {_NEWER_ERROR} then excluded.error_endpoint else kept.error_endpoint end,
    error_at = greatest(kept.error_at, excluded.error_at),
    cooling_down_until =
        case when excluded.observed_at >= kept.observed_at then excluded.cooling_down_until
        else kept.cooling_down_until end,
    observed_at = greatest(kept.observed_at, excluded.observed_at)
"""
# The request is named by its moment, so that no result of an older key or request is taken for it.
_KEEP_RESULT: Final = """
update credential_checks set result = $5
where account_id = $1 and credential_id = $2 and secret_revision = $3 and requested_at = $4
"""


class PostgresHealth:
    """The ports Health and HealthBooks."""

    def __init__(self, pool: Pool) -> None:
        """The pool's role owns the schema of migrations/."""
        self._pool = pool

    async def of(
        self, account_id: AccountId, credential_ids: Sequence[CredentialId], month: str
    ) -> Mapping[CredentialId, tuple[Check | None, Observed | None, Usage | None]]:
        """What is known of each credential."""
        with translate():
            async with self._pool.acquire() as connection:
                checks = await connection.fetch(_CHECKS, account_id, credential_ids)
                health = await connection.fetch(_HEALTH, account_id, credential_ids)
                usage = await connection.fetch(_USAGE, account_id, credential_ids, month)
        check_by_id = {row["credential_id"]: check_of(row) for row in checks}
        observed_by_id = {row["credential_id"]: observed_of(row) for row in health}
        usage_by_id = {
            row["credential_id"]: Usage(
                requests=row["requests"], fees_nano_usd=int(row["fees_nano_usd"])
            )
            for row in usage
        }
        return {
            each: (check_by_id.get(each), observed_by_id.get(each), usage_by_id.get(each))
            for each in credential_ids
        }

    async def transact(self, work: Callable[[HealthFacts], Awaitable[None]]) -> None:
        """Run `work` in one transaction."""

        async def transaction(connection: Connection) -> None:
            await work(_Facts(connection))

        await in_transaction(self._pool, transaction)


class _Facts:
    """The port HealthFacts."""

    def __init__(self, connection: Connection) -> None:
        """The connection is in a transaction."""
        self._connection = connection

    async def take_new(self, received: Sequence[Received]) -> list[Received]:
        """Record facts in the inbox; those that were not there, each once."""
        return await take_new(self._connection, _CONSUMER, received)

    async def add_usage(self, added: Mapping[UsageKey, Usage]) -> None:
        """Add to what was booked."""
        await self._connection.executemany(
            _ADD_USAGE,
            [(*key, usage.requests, usage.fees_nano_usd) for key, usage in added.items()],
        )

    async def keep_observed(self, observed: Mapping[Key, Observed]) -> None:
        """Keep what is newer than what is known."""
        await self._connection.executemany(
            _KEEP_OBSERVED, [(*key, *values_of(seen)) for key, seen in observed.items()]
        )

    async def keep_results(self, results: Sequence[CredentialChecked]) -> None:
        """Keep results of the last checks asked for."""
        ordered = sorted(results, key=lambda each: (each.account_id, each.credential_id))
        await self._connection.executemany(
            _KEEP_RESULT,
            [
                (
                    each.account_id,
                    each.credential_id,
                    each.secret_revision,
                    each.requested_at,
                    result_of(each),
                )
                for each in ordered
            ],
        )
