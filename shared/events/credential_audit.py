"""The audit of credentials: who did what to which one, when and from where, in a chain of hashes.

Each account has a chain. An entry's hash is the SHA-256 of its canonical form; an entry holds the
hash of the one before it, the first one `GENESIS`. The canonical form is the entry as JSON in
UTF-8: members sorted by name, no white space, fields that have their default left out, `at` in
UTC with up to six decimal places. No entry holds a secret, nor the free text of a name or a note.
"""

import hashlib
from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec

from shared.events.envelope import Event
from shared.ids import AccountId, ApiKeyHash, CredentialId, MemberId

GENESIS: Final = "0" * 64
"""What the first entry of a chain holds as the hash of the one before it."""

AuditAction = Literal["add", "change", "delete", "reorder"]
PolicyValue: TypeAlias = bool | int | str | list[str] | None


class Actor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who gave a command: an API key that may administer, or an operator at a command line.

    `client_address` is where the connection came from, `user_agent` what the client called itself,
    cut to its limit by whoever fills it in.
    """

    kind: Literal["management_key", "operator"]
    api_key_hash: ApiKeyHash | None = None
    member_id: MemberId | None = None
    operator: str | None = None
    client_address: str | None = None
    user_agent: str | None = None


class AuditChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field that a command changed; without values where they might hold a secret."""

    field: str
    before: PolicyValue | msgspec.UnsetType = msgspec.UNSET
    after: PolicyValue | msgspec.UnsetType = msgspec.UNSET


class AuditRefusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a command was not carried out: the refusal's code, and the field that it began with."""

    code: str
    field: str | None = None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing done to one credential, or one command refused (`refused` is set).

    `number` counts an account's entries from 1. `credential_id` is None where a command that names
    several was refused, `actor` where who sent the command did not say.
    """

    account_id: AccountId
    number: int
    previous_hash: str
    at: datetime
    action: AuditAction
    command_id: str
    credential_id: CredentialId | None = None
    provider: str | None = None
    actor: Actor | None = None
    changes: list[AuditChange] = []
    refused: AuditRefusal | None = None


class CredentialAudited(Event, frozen=True, kw_only=True):
    """An entry of an account's audit, with its hash: a copy that key_vault's database cannot lose."""

    entry: AuditEntry
    hash: str


_encoder: Final = msgspec.json.Encoder(order="sorted")


def canonical_form(entry: AuditEntry) -> bytes:
    """The bytes that are hashed."""
    return _encoder.encode(entry)


def hash_of(canonical: bytes) -> str:
    """An entry's hash, in 64 lower-case hexadecimal digits."""
    return hashlib.sha256(canonical).hexdigest()
