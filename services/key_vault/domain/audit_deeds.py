"""What is recorded of a command: fields and values, but never one that might hold a secret."""

from dataclasses import dataclass
from typing import Final

from services.key_vault.domain.commands import ChangingCommand, credential_of
from services.key_vault.domain.credential import Credential
from services.key_vault.domain.policy import Policy
from shared.events.credential_audit import AuditAction, AuditChange, AuditRefusal, PolicyValue
from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    DeleteCredential,
    ReorderCredentials,
)
from shared.events.envelope import Refused
from shared.ids import CredentialId

KEY: Final = "key"
_ACTIONS: Final[dict[type[ChangingCommand], AuditAction]] = {
    AddCredential: "add",
    ChangeCredential: "change",
    DeleteCredential: "delete",
    ReorderCredentials: "reorder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One entry of the audit before it has its place in the chain."""

    action: AuditAction
    credential_id: CredentialId | None
    provider: str | None
    changes: tuple[AuditChange, ...] = ()
    refused: AuditRefusal | None = None


def added(credential: Credential) -> Deed:
    """A new credential, with the policy that it begins with."""
    policy = credential.policy
    changes = [AuditChange(field=KEY)]
    changes += [AuditChange(field=name) for name, text in _texts(policy).items() if text]
    changes += [AuditChange(field=name, after=value) for name, value in _values(policy).items()]
    return _deed("add", credential, changes)


def changed(before: Credential, after: Credential) -> tuple[Deed, ...]:
    """A changed credential; nothing where nothing changed."""
    return _changed("change", before, after)


def reordered(before: Credential, after: Credential) -> tuple[Deed, ...]:
    """A credential that an order moved; nothing where it stayed."""
    return _changed("reorder", before, after)


def deleted(credential: Credential) -> Deed:
    """A credential that is gone."""
    return _deed("delete", credential, [])


def refused(command: ChangingCommand, refusal: Refused) -> Deed:
    """A command that was not carried out.

    Of the refusal's path only the beginning is kept: what follows may be from what was pasted.
    """
    field = None if refusal.field is None else refusal.field.partition(".")[0].partition("[")[0]
    return Deed(
        action=_ACTIONS[type(command)],
        credential_id=credential_of(command),
        provider=(
            command.provider if isinstance(command, AddCredential | ReorderCredentials) else None
        ),
        refused=AuditRefusal(code=refusal.code, field=field),
    )


def _changed(action: AuditAction, before: Credential, after: Credential) -> tuple[Deed, ...]:
    changes: list[AuditChange] = []
    if after.secret_revision != before.secret_revision:
        changes.append(AuditChange(field=KEY))
    texts = _texts(before.policy)
    changes += [
        AuditChange(field=name)
        for name, text in _texts(after.policy).items()
        if text != texts[name]
    ]
    values = _values(before.policy)
    changes += [
        AuditChange(field=name, before=values[name], after=value)
        for name, value in _values(after.policy).items()
        if value != values[name]
    ]
    return (_deed(action, after, changes),) if changes else ()


def _deed(action: AuditAction, credential: Credential, changes: list[AuditChange]) -> Deed:
    return Deed(
        action=action,
        credential_id=credential.credential_id,
        provider=credential.provider,
        changes=tuple(changes),
    )


def _texts(policy: Policy) -> dict[str, str | None]:
    """Free text: people paste what they like into it, so only that it changed is recorded."""
    return {"name": policy.name, "note": policy.note}


def _values(policy: Policy) -> dict[str, PolicyValue]:
    filters = policy.filters
    return {
        "enabled": policy.enabled,
        "section": policy.section,
        "always_use": policy.always_use,
        "order": policy.order,
        "models": filters.models,
        "api_key_hashes": None if filters.api_key_hashes is None else [*filters.api_key_hashes],
        "member_ids": None if filters.member_ids is None else [*filters.member_ids],
    }
