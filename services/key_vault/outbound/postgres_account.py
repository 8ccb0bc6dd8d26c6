"""One account's credentials inside a transaction."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from services.key_vault.domain.check import Check, request_of
from services.key_vault.domain.commands import (
    CarriedOut,
    ChangingCommand,
    Outcome,
    command_type,
)
from services.key_vault.domain.credential import Credential, RemovedCredential
from services.key_vault.outbound.credential_rows import (
    CREDENTIAL_COLUMNS,
    carried_out_of,
    credential_of,
    outcome_name,
    values_of,
)
from services.key_vault.outbound.health_rows import CHECK_COLUMNS, check_of
from shared.events.credential_health import CredentialCheckRequested
from shared.events.credentials import Section, credential_key
from shared.events.topics import CREDENTIALS_STATE
from shared.ids import AccountId, CredentialId
from shared.kafka.record import Record
from shared.postgres.outbox import Written, mark_dirty, store_facts
from shared.postgres.pool import Connection

_LOCK: Final = (
    "select pg_advisory_xact_lock(hashtextextended('openroute.key_vault.account.' || $1, 0))"
)
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
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
on conflict (account_id, credential_id) do update set
    label = excluded.label, name = excluded.name, enabled = excluded.enabled,
    section = excluded.section, always_use = excluded.always_use, "order" = excluded."order",
    filters = excluded.filters, deployments = excluded.deployments,
    ciphertext = excluded.ciphertext, secret_revision = excluded.secret_revision,
    version = excluded.version, changed_at = excluded.changed_at
"""  # noqa: S608 - our own column names
_WIPE: Final = """
update credentials
set ciphertext = null, label = '', name = null, filters = '{}', deployments = null,
    version = $3, changed_at = $4, deleted_at = $4
where account_id = $1 and credential_id = $2
"""
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
    return None if row is None else credential_of(row)


MakeRequest = Callable[[CredentialCheckRequested], Record]
"""Makes the record that asks for a check."""


class PostgresAccount:
    """The port AccountCredentials; `locked` makes one."""

    def __init__(
        self, connection: Connection, account_id: AccountId, make_request: MakeRequest
    ) -> None:
        """The connection is in a transaction that holds the account's lock."""
        self._connection = connection
        self._account_id = account_id
        self._make_request = make_request
        self.written = Written()
        """What is to be published after the commit, but for state."""

    @classmethod
    async def locked(
        cls, connection: Connection, account_id: AccountId, make_request: MakeRequest
    ) -> "PostgresAccount":
        """Wait until no other transaction works on this account."""
        await connection.execute(_LOCK, account_id)
        return cls(connection, account_id, make_request)

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

    async def wipe(self, credential: RemovedCredential, at: datetime) -> None:
        """Leave nothing of a credential but its version."""
        await self._connection.execute(
            _WIPE, self._account_id, credential.credential_id, credential.version, at
        )
        await self._mark_dirty(credential.credential_id)

    async def record(self, command: ChangingCommand, outcome: Outcome, at: datetime) -> None:
        """Remember the command's outcome."""
        await self._connection.execute(
            _RECORD,
            self._account_id,
            command.command_id,
            command_type(command),
            command.credential_id,
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
        request = self._make_request(request_of(credential, at))
        self.written += await store_facts(self._connection, [request])

    async def _mark_dirty(self, credential_id: CredentialId) -> None:
        key = credential_key(self._account_id, credential_id)
        _ = await mark_dirty(self._connection, CREDENTIALS_STATE.name, [key])
