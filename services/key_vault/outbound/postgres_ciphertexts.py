"""The ciphertexts of all accounts, for rewrapping."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from services.key_vault.domain.ciphertext import CredentialKey, KeptCiphertext
from services.key_vault.outbound.postgres_account import lock_accounts
from shared.events.credentials import credential_key
from shared.events.topics import CREDENTIALS_STATE
from shared.ids import AccountId, CredentialId
from shared.postgres.errors import translate
from shared.postgres.outbox import mark_dirty
from shared.postgres.pool import Connection, Pool, in_transaction

# A deleted credential has no ciphertext, and null is like nothing.
_OTHERS: Final = "ciphertext not like 'vault:v' || $1::text || ':%'"
_COUNT: Final = f"select count(*) from credentials where {_OTHERS}"  # noqa: S608 - our own text
_SOME: Final = f"""
select account_id, credential_id, ciphertext from credentials
where {_OTHERS} and (account_id, credential_id) > ($2::text, $3::text)
order by account_id, credential_id limit $4
"""  # noqa: S608 - our own text
# Compared and set: whoever changed a credential meanwhile has kept a ciphertext of another key.
# Rows that somebody holds are left for the next pass; waiting for several could be a deadlock.
_REPLACE: Final = """
with held as (
    select account_id, credential_id, rewrapped.ciphertext as rewrapped
    from credentials as kept
    join unnest($1::text[], $2::text[], $3::text[], $4::text[])
        as rewrapped (account_id, credential_id, seen, ciphertext)
        using (account_id, credential_id)
    where kept.ciphertext = rewrapped.seen
    order by account_id, credential_id
    for update of kept skip locked
)
update credentials as kept
set ciphertext = held.rewrapped, version = kept.version + 1, changed_at = $5
from held
where (kept.account_id, kept.credential_id) = (held.account_id, held.credential_id)
returning kept.account_id, kept.credential_id
"""
_UNPUBLISHED: Final = """
select key from outbox_dirty where topic = $1 and key > $2 order by key limit $3
"""


class PostgresCiphertexts:
    """The port Ciphertexts."""

    def __init__(self, pool: Pool) -> None:
        """The pool's role owns the schema of migrations/."""
        self._pool = pool

    async def count_besides(self, version: int) -> int:
        """How many are of another version of the key."""
        with translate():
            number: int = await self._pool.fetchval(_COUNT, str(version))
        return number

    async def besides(
        self, version: int, after: CredentialKey | None, *, limit: int
    ) -> Sequence[KeptCiphertext]:
        """Some of those, by account and credential, after a given place."""
        with translate():
            rows = await self._pool.fetch(_SOME, str(version), *(after or ("", "")), limit)
        return [KeptCiphertext(key=_key_of(row), ciphertext=row["ciphertext"]) for row in rows]

    async def replace(
        self, rewrapped: Sequence[tuple[KeptCiphertext, str]], at: datetime
    ) -> Sequence[CredentialKey]:
        """Put new ciphertexts in the places of those still kept, and mark their states.

        The accounts are locked as for a command of theirs, which may have read a credential that it
        is about to write.
        """

        async def work(connection: Connection) -> Sequence[CredentialKey]:
            await lock_accounts(connection, [kept.key[0] for kept, _ in rewrapped])
            rows = await connection.fetch(
                _REPLACE,
                [kept.key[0] for kept, _ in rewrapped],
                [kept.key[1] for kept, _ in rewrapped],
                [kept.ciphertext for kept, _ in rewrapped],
                [ciphertext for _, ciphertext in rewrapped],
                at,
            )
            keys = [_key_of(row) for row in rows]
            _ = await mark_dirty(
                connection, CREDENTIALS_STATE.name, [credential_key(*key) for key in keys]
            )
            return keys

        return await in_transaction(self._pool, work)

    async def unpublished(
        self, after: CredentialKey | None, *, limit: int
    ) -> Sequence[CredentialKey]:
        """Some credentials whose state is yet to reach dispatchers, in order, after a given one."""
        last = "" if after is None else credential_key(*after)
        with translate():
            rows = await self._pool.fetch(_UNPUBLISHED, CREDENTIALS_STATE.name, last, limit)
        split = [row["key"].partition("/") for row in rows]
        return [(AccountId(account), CredentialId(credential)) for account, _, credential in split]


def _key_of(row: Any) -> CredentialKey:
    return AccountId(row["account_id"]), CredentialId(row["credential_id"])
