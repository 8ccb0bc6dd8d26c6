"""Credentials in PostgreSQL."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from services.key_vault.domain.commands import CarriedOut
from services.key_vault.domain.credential import Credential
from services.key_vault.outbound.credential_rows import CREDENTIAL_COLUMNS, credential_of
from services.key_vault.outbound.postgres_account import (
    MakeRequest,
    PostgresAccount,
    carried_out,
    find,
)
from services.key_vault.ports import AccountCredentials
from shared.ids import AccountId, CredentialId
from shared.postgres.errors import translate
from shared.postgres.outbox import Written
from shared.postgres.pool import Connection, Pool, in_transaction

T = TypeVar("T")

_MATCHING: Final = """
account_id = $1 and deleted_at is null and ($2::text is null or provider = $2)
"""
_PAGE: Final = f"""
select {CREDENTIAL_COLUMNS} from credentials where {_MATCHING}
order by section = 'fallback', "order", created_at, credential_id
offset $3 limit $4
"""  # noqa: S608 - our own column names
_TOTAL: Final = f"select count(*) from credentials where {_MATCHING}"  # noqa: S608 - the same


class PostgresCredentials:
    """The port Credentials."""

    def __init__(
        self, pool: Pool, *, make_request: MakeRequest, publish: Callable[[Written], None]
    ) -> None:
        """The pool's role owns the schema of migrations/; `publish` is handed what was committed."""
        self._pool = pool
        self._make_request = make_request
        self._publish = publish

    async def carried_out(self, account_id: AccountId, command_id: str) -> CarriedOut | None:
        """The record of an earlier delivery of this command."""
        with translate():
            async with self._pool.acquire() as connection:
                return await carried_out(connection, account_id, command_id)

    async def find(self, account_id: AccountId, credential_id: CredentialId) -> Credential | None:
        """A credential that is not deleted."""
        with translate():
            async with self._pool.acquire() as connection:
                return await find(connection, account_id, credential_id)

    async def page(
        self, account_id: AccountId, provider: str | None, *, offset: int, limit: int
    ) -> tuple[Sequence[Credential], int]:
        """Some of an account's credentials by section, order and age, and how many match."""
        with translate():
            async with self._pool.acquire() as connection:
                total = await connection.fetchval(_TOTAL, account_id, provider)
                rows = await connection.fetch(_PAGE, account_id, provider, offset, limit)
        return [credential_of(row) for row in rows], total

    async def in_account(
        self, account_id: AccountId, work: Callable[[AccountCredentials], Awaitable[T]]
    ) -> T:
        """Run `work` in a transaction that holds the account's lock."""

        async def locked(connection: Connection) -> tuple[T, Written]:
            account = await PostgresAccount.locked(connection, account_id, self._make_request)
            return await work(account), account.written

        result, written = await in_transaction(self._pool, locked)
        self._publish(written)
        return result
