"""Credentials: commands to key_vault, its answers, and the state that dispatchers read."""

from datetime import datetime
from typing import Literal

import msgspec

from shared.events.credential_audit import Actor
from shared.events.credential_health import CheckDescription, HealthDescription
from shared.events.envelope import CallReply, Event, Heartbeat, StateEvent
from shared.ids import AccountId, ApiKeyHash, CredentialId, MemberId

Section = Literal["prioritized", "fallback"]
"""Prioritized credentials stand before shared capacity in the plan, fallback ones after it."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Whom and what a credential serves; None restricts nothing, all must match."""

    models: list[str] | None = None
    api_key_hashes: list[ApiKeyHash] | None = None
    member_ids: list[MemberId] | None = None


class AddCredential(Event, frozen=True, kw_only=True):
    """Keep a provider key. `sealed_key` is what was pasted, encrypted with the Transit key `intake`.

    The intake context is `intake_context(account_id, credential_id, command_id)`, so the ciphertext
    serves this command alone.
    """

    command_id: str
    account_id: AccountId
    credential_id: CredentialId
    provider: str
    sealed_key: str
    name: str | None = None
    note: str | None = None
    enabled: bool = True
    section: Section = "prioritized"
    always_use: bool = False
    order: int | None = None
    filters: Filters = Filters()
    actor: Actor | None = None


class ChangeCredential(Event, frozen=True, kw_only=True):
    """Change what is given; a field left unset stays as it is, None clears it."""

    command_id: str
    account_id: AccountId
    credential_id: CredentialId
    sealed_key: str | msgspec.UnsetType = msgspec.UNSET
    name: str | msgspec.UnsetType | None = msgspec.UNSET
    note: str | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    section: Section | msgspec.UnsetType = msgspec.UNSET
    always_use: bool | msgspec.UnsetType = msgspec.UNSET
    order: int | msgspec.UnsetType = msgspec.UNSET
    allowed_models: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    allowed_api_key_hashes: list[ApiKeyHash] | msgspec.UnsetType | None = msgspec.UNSET
    allowed_member_ids: list[MemberId] | msgspec.UnsetType | None = msgspec.UNSET
    actor: Actor | None = None


class DeleteCredential(Event, frozen=True, kw_only=True):
    """Forget a credential; its key material is wiped from row and topic."""

    command_id: str
    account_id: AccountId
    credential_id: CredentialId
    actor: Actor | None = None


class ReorderCredentials(Event, frozen=True, kw_only=True):
    """Set the order, and the sections, of all of an account's credentials of one provider.

    Both lists together name each of them once; a credential's order becomes its place in its list.
    """

    command_id: str
    account_id: AccountId
    provider: str
    prioritized: list[CredentialId]
    fallback: list[CredentialId]
    actor: Actor | None = None


class GetCredential(Event, frozen=True, kw_only=True):
    """Read one credential's policy and label."""

    account_id: AccountId
    credential_id: CredentialId


class ListCredentials(Event, frozen=True, kw_only=True):
    """Read an account's credentials, by section, order and age."""

    account_id: AccountId
    provider: str | None = None
    offset: int = 0
    limit: int = 50


class CredentialDescription(msgspec.Struct, frozen=True, kw_only=True):
    """All that may be told of a credential. `label` is the key masked to its last characters.

    `check` is null for a key that was never checked; `health` where it was not asked for.
    """

    credential_id: CredentialId
    provider: str
    label: str
    name: str | None
    enabled: bool
    section: Section
    always_use: bool
    order: int
    filters: Filters
    created_at: datetime
    note: str | None = None
    check: CheckDescription | None = None
    health: HealthDescription | None = None


class CredentialKept(CallReply, frozen=True, kw_only=True):
    """Answers a command that added, changed or read one credential."""

    credential: CredentialDescription


class CredentialForgotten(CallReply, frozen=True, kw_only=True):
    """Answers `DeleteCredential`."""

    credential_id: CredentialId


class CredentialsReordered(CallReply, frozen=True, kw_only=True):
    """Answers `ReorderCredentials` with what now holds."""

    provider: str
    prioritized: list[CredentialId]
    fallback: list[CredentialId]


class CredentialsListed(CallReply, frozen=True, kw_only=True):
    """Answers `ListCredentials`; `total` counts all that match, not only this page."""

    credentials: list[CredentialDescription]
    total: int


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One Azure deployment inside a credential; its URL and key stay in the ciphertext."""

    model_slug: str
    model_id: str


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One whole Azure resource inside a credential; its key and type stay in the ciphertext."""

    resource_name: str


class CredentialChanged(StateEvent, frozen=True, kw_only=True):
    """A credential as dispatchers plan with it; only they can open `ciphertext`.

    The ciphertext is of the Transit key `credentials` with `credential_context(account_id,
    credential_id)`. `secret_revision` grows when the key itself changes. `deployments` is None when
    the credential serves every model of its provider. Each of `resources` serves every such model
    that none of `deployments` is for.
    """

    account_id: AccountId
    credential_id: CredentialId
    provider: str
    label: str
    enabled: bool
    section: Section
    always_use: bool
    order: int
    filters: Filters
    deployments: list[Deployment] | None = None
    resources: tuple[Resource, ...] = ()
    secret_revision: int
    ciphertext: str
    created_at: datetime


class CredentialRemoved(StateEvent, frozen=True, kw_only=True):
    """A deletion, versioned so that no older state can bring the credential back."""

    account_id: AccountId
    credential_id: CredentialId


class CredentialsHeartbeat(Heartbeat, frozen=True, kw_only=True):
    """How many credentials live on the topic at this offset: a reader with another count is wrong."""

    live_count: int


def intake_context(account_id: AccountId, credential_id: CredentialId, command_id: str) -> bytes:
    """The Transit context that binds a pasted secret to the one command that brings it."""
    return f"{account_id}/{credential_id}/{command_id}".encode()


def credential_context(account_id: AccountId, credential_id: CredentialId) -> bytes:
    """The Transit context that binds a kept secret to its row."""
    return f"{account_id}/{credential_id}".encode()


def credential_key(account_id: AccountId, credential_id: CredentialId) -> str:
    """The record key on `credentials.state`."""
    return f"{account_id}/{credential_id}"
