"""Which accounts exist, in ingress' own schema."""

from typing_extensions import override

from services.ingress.ports import Accounts
from shared.ids import AccountId
from shared.postgres.errors import translate
from shared.postgres.pool import Pool


class PostgresKnownAccounts(Accounts):
    """Read with the pool's deadlines."""

    def __init__(self, pool: Pool) -> None:
        """Use an open pool."""
        self._pool = pool

    @override
    async def exists(self, account_id: AccountId) -> bool:
        with translate():
            found = await self._pool.fetchval("select 1 from accounts where id = $1", account_id)
        return found is not None
