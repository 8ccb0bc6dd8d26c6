"""A kept credential, what may be told of it, and how commands change it."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.key_vault.domain.policy import Policy
from shared.events.credentials import (
    CredentialChanged,
    CredentialDescription,
    CredentialRemoved,
    Deployment,
    Resource,
)
from shared.ids import AccountId, CredentialId

CREDENTIALS_MAX: Final = 1_000
"""Credentials that one account may keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSecret:
    """A provider key in the form in which it is kept."""

    ciphertext: str
    label: str
    deployments: tuple[Deployment, ...] | None
    resources: tuple[Resource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One credential. `version` grows with every change, `secret_revision` with the key's."""

    account_id: AccountId
    credential_id: CredentialId
    provider: str
    policy: Policy
    secret: KeptSecret
    secret_revision: int
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedCredential:
    """What is left of a deleted credential until its key has gone from the topic."""

    account_id: AccountId
    credential_id: CredentialId
    version: int


def changed(credential: Credential, policy: Policy, secret: KeptSecret | None) -> Credential:
    """The credential with this policy and, where one is given, this new key."""
    if secret is not None:
        return replace(
            credential,
            policy=policy,
            secret=secret,
            secret_revision=credential.secret_revision + 1,
            version=credential.version + 1,
        )
    if policy == credential.policy:
        return credential
    return replace(credential, policy=policy, version=credential.version + 1)


def removed(credential: Credential) -> RemovedCredential:
    """The marker that takes the credential's place."""
    return RemovedCredential(
        account_id=credential.account_id,
        credential_id=credential.credential_id,
        version=credential.version + 1,
    )


def describe(credential: Credential) -> CredentialDescription:
    """What its account is told."""
    policy = credential.policy
    return CredentialDescription(
        credential_id=credential.credential_id,
        provider=credential.provider,
        label=credential.secret.label,
        name=policy.name,
        note=policy.note,
        enabled=policy.enabled,
        section=policy.section,
        always_use=policy.always_use,
        order=policy.order,
        filters=policy.filters,
        created_at=credential.created_at,
    )


def state_of(credential: Credential | RemovedCredential) -> CredentialChanged | CredentialRemoved:
    """What dispatchers are told."""
    if isinstance(credential, RemovedCredential):
        return CredentialRemoved(
            version=credential.version,
            account_id=credential.account_id,
            credential_id=credential.credential_id,
        )
    policy, secret = credential.policy, credential.secret
    return CredentialChanged(
        version=credential.version,
        account_id=credential.account_id,
        credential_id=credential.credential_id,
        provider=credential.provider,
        label=secret.label,
        enabled=policy.enabled,
        section=policy.section,
        always_use=policy.always_use,
        order=policy.order,
        filters=policy.filters,
        deployments=None if secret.deployments is None else list(secret.deployments),
        resources=secret.resources,
        secret_revision=credential.secret_revision,
        ciphertext=secret.ciphertext,
        created_at=credential.created_at,
    )
