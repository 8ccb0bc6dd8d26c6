"""How credentials and outcomes stand in PostgreSQL's rows."""

from typing import Any, Final, TypeVar

import msgspec

from services.key_vault.domain.commands import CarriedOut, Outcome
from services.key_vault.domain.credential import Credential, KeptSecret, RemovedCredential
from services.key_vault.domain.policy import Policy
from shared.events.credentials import (
    CredentialForgotten,
    CredentialKept,
    CredentialsReordered,
    Deployment,
    Filters,
    Resource,
)
from shared.events.envelope import Refused

CREDENTIAL_COLUMNS: Final = (
    "account_id, credential_id, provider, label, name, note, enabled, section,"
    ' always_use, "order", filters, deployments, ciphertext, secret_revision, version, created_at'
)
_OUTCOMES: Final[dict[str, type[Outcome]]] = {
    "kept": CredentialKept,
    "forgotten": CredentialForgotten,
    "reordered": CredentialsReordered,
    "refused": Refused,
}
_OUTCOME_NAMES: Final = {kind: name for name, kind in _OUTCOMES.items()}

Element = TypeVar("Element", Deployment, Resource)


def credential_in(row: Any) -> Credential:
    """The credential in a row that is not deleted."""
    elements = row["deployments"]
    return Credential(
        account_id=row["account_id"],
        credential_id=row["credential_id"],
        provider=row["provider"],
        policy=Policy(
            name=row["name"],
            note=row["note"],
            enabled=row["enabled"],
            section=row["section"],
            always_use=row["always_use"],
            order=row["order"],
            filters=msgspec.convert(row["filters"], Filters),
        ),
        secret=KeptSecret(
            ciphertext=row["ciphertext"],
            label=row["label"],
            deployments=None if elements is None else _with("model_slug", elements, Deployment),
            resources=_with("resource_name", elements or [], Resource),
        ),
        secret_revision=row["secret_revision"],
        version=row["version"],
        created_at=row["created_at"],
    )


def values_of(credential: Credential) -> tuple[Any, ...]:
    """The values of CREDENTIAL_COLUMNS."""
    policy, secret = credential.policy, credential.secret
    return (
        credential.account_id,
        credential.credential_id,
        credential.provider,
        secret.label,
        policy.name,
        policy.note,
        policy.enabled,
        policy.section,
        policy.always_use,
        policy.order,
        policy.filters,
        None if secret.deployments is None else [*secret.deployments, *secret.resources],
        secret.ciphertext,
        credential.secret_revision,
        credential.version,
        credential.created_at,
    )


def _with(field: str, elements: Any, kind: type[Element]) -> tuple[Element, ...]:
    """Those with this field: deployments and resources stand side by side in one column."""
    return tuple(msgspec.convert(each, kind) for each in elements if field in each)


def credential_or_removal_of(row: Any) -> Credential | RemovedCredential:
    """What a row stands for, deleted or not."""
    if row["deleted_at"] is None:
        return credential_in(row)
    return RemovedCredential(
        account_id=row["account_id"], credential_id=row["credential_id"], version=row["version"]
    )


def outcome_name(outcome: Outcome) -> str:
    """The outcome's kind, as it is stored."""
    return _OUTCOME_NAMES[type(outcome)]


def carried_out_of(row: Any) -> CarriedOut:
    """A command's record."""
    return CarriedOut(
        command_type=row["command_type"],
        credential_id=row["credential_id"],
        outcome=msgspec.convert(row["reply"], _OUTCOMES[row["outcome"]]),
    )
