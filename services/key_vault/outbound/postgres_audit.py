"""The audit in PostgreSQL, for reading all of it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from services.key_vault.domain.audit_chain import AuditRow
from shared.ids import AccountId
from shared.postgres.errors import translate
from shared.postgres.pool import Pool

_ROWS_AT_ONCE: Final = 500
_ALL: Final = "select account_id, number, entry, hash from audit order by account_id, number"
_HASHES: Final = """
select account_id, number, hash from audit
where (account_id, number) in (select * from unnest($1::text[], $2::bigint[]))
"""


class PostgresAudit:
    """The port AuditChains."""

    def __init__(self, pool: Pool) -> None:
        """Nothing is changed through it."""
        self._pool = pool

    async def rows(self) -> AsyncIterator[AuditRow]:
        """All rows of one snapshot."""
        with translate():
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                async for row in connection.cursor(_ALL, prefetch=_ROWS_AT_ONCE):
                    yield AuditRow(
                        account_id=AccountId(row["account_id"]),
                        number=row["number"],
                        entry=row["entry"],
                        hash=row["hash"],
                    )

    async def hashes(
        self, places: Sequence[tuple[AccountId, int]]
    ) -> Mapping[tuple[AccountId, int], str]:
        """The hashes at these places, where there are any."""
        with translate():
            rows = await self._pool.fetch(
                _HASHES, [account_id for account_id, _ in places], [number for _, number in places]
            )
        return {(AccountId(row["account_id"]), row["number"]): row["hash"] for row in rows}
