"""The chain of an account's audit: how an entry joins it, and how one finds out that it was broken."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from services.key_vault.domain.audit_deeds import Deed
from services.key_vault.domain.commands import ChangingCommand
from shared.events.credential_audit import (
    GENESIS,
    AuditEntry,
    CredentialAudited,
    canonical_form,
    hash_of,
)
from shared.ids import AccountId

_decoder: Final = msgspec.json.Decoder(AuditEntry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last entry of a chain so far; number 0 is before the first."""

    number: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """An entry as it is stored: `entry` is its canonical form, of which `hash` was made."""

    account_id: AccountId
    number: int
    entry: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A place where a chain is not what it was; `what` tells a person."""

    account_id: str
    number: int
    what: str


def link(
    head: Head, deeds: Sequence[Deed], command: ChangingCommand, at: datetime
) -> list[CredentialAudited]:
    """The entries that follow `head`, one for each deed."""
    linked: list[CredentialAudited] = []
    for deed in deeds:
        entry = AuditEntry(
            account_id=command.account_id,
            number=head.number + 1,
            previous_hash=head.hash,
            at=at,
            action=deed.action,
            command_id=command.command_id,
            credential_id=deed.credential_id,
            provider=deed.provider,
            actor=command.actor,
            changes=list(deed.changes),
            refused=deed.refused,
        )
        audited = CredentialAudited(entry=entry, hash=hash_of(canonical_form(entry)))
        linked.append(audited)
        head = Head(number=entry.number, hash=audited.hash)
    return linked


def row_of(audited: CredentialAudited) -> AuditRow:
    """How an entry is stored."""
    entry = audited.entry
    return AuditRow(
        account_id=entry.account_id,
        number=entry.number,
        entry=canonical_form(entry).decode(),
        hash=audited.hash,
    )


def damage_at(head: Head, row: AuditRow) -> list[Damage]:
    """What is wrong with the row that comes after `head` in its chain, or nothing."""
    found: list[str] = []
    if row.number != head.number + 1:
        found.append(_missing(head.number + 1, row.number - 1))
    if hash_of(row.entry.encode()) != row.hash:
        found.append("it was altered: it does not have its hash")
    try:
        entry = _decoder.decode(row.entry)
    except (msgspec.DecodeError, msgspec.ValidationError):
        found.append("it cannot be read")
    else:
        if (entry.account_id, entry.number) != (row.account_id, row.number):
            found.append(f"it is entry {entry.number} of account {entry.account_id}")
        elif row.number == head.number + 1 and entry.previous_hash != head.hash:
            found.append(f"it does not follow from entry {head.number}")
    return [Damage(account_id=row.account_id, number=row.number, what=what) for what in found]


def damage_of_published(published: CredentialAudited, kept_hash: str | None) -> Damage | None:
    """What is wrong with the stored row of an entry that was published, or None."""
    if kept_hash == published.hash:
        return None
    entry = published.entry
    what = (
        "it was published and is gone"
        if kept_hash is None
        else "it was published with another hash: it was replaced"
    )
    return Damage(account_id=entry.account_id, number=entry.number, what=what)


def _missing(first: int, last: int) -> str:
    return (
        f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
    )
