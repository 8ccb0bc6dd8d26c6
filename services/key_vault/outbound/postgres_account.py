"""One account's credentials inside a transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from services.key_vault.domain.audit_chain import Head, link, row_of
from services.key_vault.domain.audit_deeds import Deed
from services.key_vault.domain.check import Check, request_of
from services.key_vault.domain.commands import (
    CarriedOut,
    ChangingCommand,
    Outcome,
    command_type,
    credential_of,
)
from services.key_vault.domain.credential import Credential, RemovedCredential
from services.key_vault.outbound.credential_rows import (
    CREDENTIAL_COLUMNS,
    carried_out_of,
    credential_in,
    outcome_name,
    values_of,
)
from services.key_vault.outbound.health_rows import CHECK_COLUMNS, check_of
from shared.events.credentials import Section, credential_key
from shared.events.topics import CREDENTIALS_AUDIT, CREDENTIALS_CHECKS, CREDENTIALS_STATE
from shared.ids import AccountId, CredentialId
from shared.kafka.producer import EventProducer
from shared.postgres.outbox import Written, mark_dirty, store_facts
from shared.postgres.pool import Connection

_LOCK: Final = """
select pg_advisory_xact_lock(hashtextextended('openroute.key_vault.account.' || account_id, 0))
from unnest($1::text[]) as account_id
"""
_CARRIED_OUT: Final = """
select command_type, credential_id, outcome, reply from commands
where account_id = $1 and command_id = $2
"""
_FIND: Final = f"""
select {CREDENTIAL_COLUMNS} from credentials
where account_id = $1 and credential_id = $2 and deleted_at is null
"""  # noqa: S608 - our own column names
_KEEP: Final = f"""
insert into credentials ({CREDENTIAL_COLUMNS}, changed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
    $17)
on conflict (account_id, credential_id) do update set
    label = excluded.label, name = excluded.name, note = excluded.note,
    enabled = excluded.enabled,
    section = excluded.section, always_use = excluded.always_use, "order" = excluded."order",
    filters = excluded.filters, deployments = excluded.deployments,
    ciphertext = excluded.ciphertext, secret_revision = excluded.secret_revision,
    version = excluded.version, changed_at = excluded.changed_at
"""  # noqa: S608 - our own column names
_WIPE: Final = """
update credentials
set ciphertext = null, label = '', name = null, note = null, filters = '{}', deployments = null,
    version = $3, changed_at = $4, deleted_at = $4
where account_id = $1 and credential_id = $2
"""
_OF_PROVIDER: Final = f"""
select {CREDENTIAL_COLUMNS} from credentials
where account_id = $1 and provider = $2 and deleted_at is null
"""  # noqa: S608 - our own column names
_MOVE: Final = """
update credentials as kept
set section = moved.section, "order" = moved."order", version = moved.version, changed_at = $6
from unnest($2::text[], $3::text[], $4::integer[], $5::bigint[])
    as moved (credential_id, section, "order", version)
where kept.account_id = $1 and kept.credential_id = moved.credential_id
"""
_HEAD: Final = """
select number, hash from audit where account_id = $1 order by number desc limit 1
"""
_AUDIT: Final = "insert into audit (account_id, number, entry, hash) values ($1, $2, $3, $4)"
_RECORD: Final = """
insert into commands
    (account_id, command_id, command_type, credential_id, outcome, reply, carried_out_at)
values ($1, $2, $3, $4, $5, $6, $7)
"""

_LAST_CHECK: Final = f"""
select {CHECK_COLUMNS} from credential_checks where account_id = $1 and credential_id = $2
"""  # noqa: S608 - our own column names
_NEW_KEY_IS_NOT_COOLING: Final = """
update credential_health set cooling_down_until = null
where account_id = $1 and credential_id = $2 and cooling_down_until is not null
    and exists (
        select from credential_checks
        where account_id = $1 and credential_id = $2 and secret_revision < $3
    )
"""
_ASK_CHECK: Final = """
insert into credential_checks (account_id, credential_id, secret_revision, requested_at)
values ($1, $2, $3, $4)
on conflict (account_id, credential_id) do update set
    secret_revision = excluded.secret_revision, requested_at = excluded.requested_at,
    result = null
"""


async def lock_accounts(connection: Connection, account_ids: Iterable[AccountId]) -> None:
    """Wait until no other transaction works on these accounts, always in the same order."""
    await connection.execute(_LOCK, sorted(set(account_ids)))


async def carried_out(
    connection: Connection, account_id: AccountId, command_id: str
) -> CarriedOut | None:
    """The record of a command."""
    row = await connection.fetchrow(_CARRIED_OUT, account_id, command_id)
    return None if row is None else carried_out_of(row)


async def find(
    connection: Connection, account_id: AccountId, credential_id: CredentialId
) -> Credential | None:
    """A credential that is not deleted."""
    row = await connection.fetchrow(_FIND, account_id, credential_id)
    return None if row is None else credential_in(row)


class PostgresAccount:
    """The port AccountCredentials; `locked` makes one."""

    def __init__(
        self, connection: Connection, account_id: AccountId, producer: EventProducer
    ) -> None:
        """The connection is in a transaction that holds the account's lock."""
        self._connection = connection
        self._account_id = account_id
        self._producer = producer
        self.facts = Written()
        """What is to be told once the transaction is committed: entries of the audit, requests for checks."""

    @classmethod
    async def locked(
        cls, connection: Connection, account_id: AccountId, producer: EventProducer
    ) -> "PostgresAccount":
        """Wait until no other transaction works on this account."""
        await lock_accounts(connection, [account_id])
        return cls(connection, account_id, producer)

    async def carried_out(self, command_id: str) -> CarriedOut | None:
        """The record of an earlier delivery of this command."""
        return await carried_out(self._connection, self._account_id, command_id)

    async def find(self, credential_id: CredentialId) -> Credential | None:
        """A credential that is not deleted."""
        return await find(self._connection, self._account_id, credential_id)

    async def knows(self, credential_id: CredentialId) -> bool:
        """Whether the id is taken, be it by a deleted credential."""
        taken: bool = await self._connection.fetchval(
            "select exists (select from credentials where account_id = $1 and credential_id = $2)",
            self._account_id,
            credential_id,
        )
        return taken

    async def count(self) -> int:
        """How many credentials the account keeps."""
        number: int = await self._connection.fetchval(
            "select count(*) from credentials where account_id = $1 and deleted_at is null",
            self._account_id,
        )
        return number

    async def last_order(self, provider: str, section: Section) -> int | None:
        """The highest order in a section."""
        last: int | None = await self._connection.fetchval(
            """
            select max("order") from credentials
            where account_id = $1 and provider = $2 and section = $3 and deleted_at is null
            """,
            self._account_id,
            provider,
            section,
        )
        return last

    async def keep(self, credential: Credential, at: datetime) -> None:
        """Store a credential and mark its state dirty."""
        await self._connection.execute(_KEEP, *values_of(credential), at)
        await self._mark_dirty(credential.credential_id)

    async def of_provider(self, provider: str) -> Sequence[Credential]:
        """All of a provider that are not deleted."""
        rows = await self._connection.fetch(_OF_PROVIDER, self._account_id, provider)
        return [credential_in(row) for row in rows]

    async def move(self, credentials: Sequence[Credential], at: datetime) -> None:
        """Store places and mark all of their states dirty."""
        await self._connection.execute(
            _MOVE,
            self._account_id,
            [each.credential_id for each in credentials],
            [each.policy.section for each in credentials],
            [each.policy.order for each in credentials],
            [each.version for each in credentials],
            at,
        )
        await self._mark_dirty(*(each.credential_id for each in credentials))

    async def wipe(self, credential: RemovedCredential, at: datetime) -> None:
        """Leave nothing of a credential but its version."""
        await self._connection.execute(
            _WIPE, self._account_id, credential.credential_id, credential.version, at
        )
        await self._mark_dirty(credential.credential_id)

    async def audit(self, command: ChangingCommand, deeds: Sequence[Deed], at: datetime) -> None:
        """Append to the chain; the account's lock keeps others away from its end."""
        row = await self._connection.fetchrow(_HEAD, self._account_id)
        head = Head() if row is None else Head(number=row["number"], hash=row["hash"])
        entries = link(head, deeds, command, at)
        rows = [row_of(each) for each in entries]
        await self._connection.executemany(
            _AUDIT, [(each.account_id, each.number, each.entry, each.hash) for each in rows]
        )
        self.facts += await store_facts(
            self._connection,
            [
                self._producer.record(CREDENTIALS_AUDIT, each, key=self._account_id)
                for each in entries
            ],
        )

    async def record(self, command: ChangingCommand, outcome: Outcome, at: datetime) -> None:
        """Remember the command's outcome."""
        await self._connection.execute(
            _RECORD,
            self._account_id,
            command.command_id,
            command_type(command),
            credential_of(command),
            outcome_name(outcome),
            outcome,
            at,
        )

    async def last_check(self, credential_id: CredentialId) -> Check | None:
        """The last check asked for."""
        row = await self._connection.fetchrow(_LAST_CHECK, self._account_id, credential_id)
        return None if row is None else check_of(row)

    async def ask_check(self, credential: Credential, at: datetime) -> None:
        """Ask for a check of the present key; what an earlier key's cool-down was is forgotten."""
        values = (self._account_id, credential.credential_id, credential.secret_revision)
        await self._connection.execute(_NEW_KEY_IS_NOT_COOLING, *values)
        await self._connection.execute(_ASK_CHECK, *values, at)
        request = self._producer.record(
            CREDENTIALS_CHECKS, request_of(credential, at), key=self._account_id
        )
        self.facts += await store_facts(self._connection, [request])

    async def _mark_dirty(self, *credential_ids: CredentialId) -> None:
        keys = [credential_key(self._account_id, each) for each in credential_ids]
        _ = await mark_dirty(self._connection, CREDENTIALS_STATE.name, keys)
