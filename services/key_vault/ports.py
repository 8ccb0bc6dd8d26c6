"""What the use cases ask of the world."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from services.key_vault.domain.audit_chain import AuditRow
from services.key_vault.domain.audit_deeds import Deed
from services.key_vault.domain.check import Check
from services.key_vault.domain.ciphertext import CredentialKey, KeptCiphertext
from services.key_vault.domain.commands import CarriedOut, ChangingCommand, Outcome
from services.key_vault.domain.credential import Credential, RemovedCredential
from services.key_vault.domain.egress import EgressAllowed
from services.key_vault.domain.health import Key, Observed, Usage, UsageKey
from shared.clock import Clock
from shared.events.codec import Received
from shared.events.credential_audit import CredentialAudited
from shared.events.credential_health import CredentialChecked
from shared.events.credentials import Section
from shared.ids import AccountId, CredentialId
from shared.secret import Secret

T = TypeVar("T")


class Encryption(Protocol):
    """Opens what was pasted and encrypts what is kept. Both raise Unavailable."""

    async def open_pasted(self, sealed_key: str, *, context: bytes) -> Secret | None:
        """What was pasted; None when the sealed key was not made for this context, or is no text."""
        ...

    async def encrypt(self, document: bytes, *, context: bytes) -> str:
        """The ciphertext to keep, which only the dispatcher can open."""
        ...


class Catalog(Protocol):
    """The models there are."""

    def slugs(self) -> Collection[str]:
        """All of them; Unavailable while they are not known."""
        ...


class AccountCredentials(Protocol):
    """One account's credentials inside a transaction that no other of that account runs beside."""

    async def carried_out(self, command_id: str) -> CarriedOut | None:
        """The record of an earlier delivery of this command."""
        ...

    async def find(self, credential_id: CredentialId) -> Credential | None:
        """A credential that is not deleted."""
        ...

    async def knows(self, credential_id: CredentialId) -> bool:
        """Whether the id is taken, be it by a deleted credential."""
        ...

    async def count(self) -> int:
        """How many credentials the account keeps."""
        ...

    async def last_order(self, provider: str, section: Section) -> int | None:
        """The highest order in a section, or None when it is empty."""
        ...

    async def of_provider(self, provider: str) -> Sequence[Credential]:
        """All of the account's credentials of a provider."""
        ...

    async def keep(self, credential: Credential, at: datetime) -> None:
        """Store a credential, new or changed, and mark its state as to be published."""
        ...

    async def move(self, credentials: Sequence[Credential], at: datetime) -> None:
        """Store their sections and orders, and mark their states as to be published."""
        ...

    async def wipe(self, credential: RemovedCredential, at: datetime) -> None:
        """Delete its key material, and mark the removal as to be published."""
        ...

    async def audit(self, command: ChangingCommand, deeds: Sequence[Deed], at: datetime) -> None:
        """Put them at the end of the account's audit."""
        ...

    async def record(self, command: ChangingCommand, outcome: Outcome, at: datetime) -> None:
        """Remember the command's outcome for further deliveries."""
        ...

    async def last_check(self, credential_id: CredentialId) -> Check | None:
        """The last check asked for."""
        ...

    async def ask_check(self, credential: Credential, at: datetime) -> None:
        """Ask dispatchers to check the credential's present key, once this transaction is committed."""
        ...


class Credentials(Protocol):
    """All kept credentials. Every method raises Unavailable."""

    async def carried_out(self, account_id: AccountId, command_id: str) -> CarriedOut | None:
        """The record of an earlier delivery of this command."""
        ...

    async def find(self, account_id: AccountId, credential_id: CredentialId) -> Credential | None:
        """A credential that is not deleted."""
        ...

    async def page(
        self, account_id: AccountId, provider: str | None, *, offset: int, limit: int
    ) -> tuple[Sequence[Credential], int]:
        """Some of an account's credentials by section, order and age, and how many match."""
        ...

    async def in_account(
        self, account_id: AccountId, work: Callable[[AccountCredentials], Awaitable[T]]
    ) -> T:
        """Run `work` in a transaction. It may run several times and must keep nothing outside."""
        ...


class Health(Protocol):
    """How credentials fare. Raises Unavailable."""

    async def of(
        self, account_id: AccountId, credential_ids: Sequence[CredentialId], month: str
    ) -> Mapping[CredentialId, tuple[Check | None, Observed | None, Usage | None]]:
        """What is known of each: its check, what was seen of it, what was booked in a month."""
        ...


class HealthFacts(Protocol):
    """What is kept of facts, inside one transaction. Credentials that are gone are passed over."""

    async def take_new(self, received: Sequence[Received]) -> list[Received]:
        """Record facts in the inbox; those that were not there, each once."""
        ...

    async def add_usage(self, added: Mapping[UsageKey, Usage]) -> None:
        """Add to what was booked; sorted by key."""
        ...

    async def keep_observed(self, observed: Mapping[Key, Observed]) -> None:
        """Keep what is newer than what is known; sorted by key."""
        ...

    async def keep_results(self, results: Sequence[CredentialChecked]) -> None:
        """Keep the results of the last checks asked for; a result of any other check is too late."""
        ...


class HealthBooks(Protocol):
    """Where facts are kept. Raises Unavailable."""

    async def transact(self, work: Callable[[HealthFacts], Awaitable[None]]) -> None:
        """Run `work` in one transaction. It may run several times and must keep nothing outside."""
        ...


class PublishState(Protocol):
    """Tells dispatchers what has been committed."""

    async def __call__(
        self, account_id: AccountId, credential_ids: Sequence[CredentialId], /
    ) -> None:
        """Return once Kafka has the states as they are now; at once when it has already.

        Raises Unavailable; the states are then published later all the same.
        """
        ...


class Rewrapping(Protocol):
    """Brings ciphertexts to the newest version of their key unopened. Both raise Unavailable."""

    async def newest_version(self) -> int:
        """The version that is encrypted with now."""
        ...

    async def rewrap(self, kept: Sequence[KeptCiphertext]) -> Sequence[str | None]:
        """The new ciphertexts in order; None for one that does not belong where it is kept."""
        ...


class Ciphertexts(Protocol):
    """The kept ciphertexts of all accounts. Every method raises Unavailable."""

    async def count_besides(self, version: int) -> int:
        """How many are of another version of the key."""
        ...

    async def besides(
        self, version: int, after: CredentialKey | None, *, limit: int
    ) -> Sequence[KeptCiphertext]:
        """Some of those, by account and credential, after a given place."""
        ...

    async def replace(
        self, rewrapped: Sequence[tuple[KeptCiphertext, str]], at: datetime
    ) -> Sequence[CredentialKey]:
        """Put new ciphertexts in the places of those still kept, and mark their states.

        Gives the credentials for which that was done: one that was changed or deleted meanwhile, or
        is just being changed, stays as it is.
        """
        ...

    async def unpublished(
        self, after: CredentialKey | None, *, limit: int
    ) -> Sequence[CredentialKey]:
        """Some credentials whose state is yet to reach dispatchers, in order, after a given one."""
        ...


class PublishStates(Protocol):
    """Tells dispatchers of many credentials at once."""

    async def __call__(self, keys: Sequence[CredentialKey], /) -> None:
        """Return once Kafka has the states as they are now. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrapPorts:
    """Everything that rewrapping needs.

    Attributes:
        pause: waits a moment before something unavailable is tried again.
    """

    rewrapping: Rewrapping
    ciphertexts: Ciphertexts
    publish_states: PublishStates
    pause: Callable[[], Awaitable[None]]
    clock: Clock


class AuditChains(Protocol):
    """The audit as it is kept. Every method raises Unavailable."""

    def rows(self) -> AsyncIterator[AuditRow]:
        """All of it as it stands at one moment, by account and number."""
        ...

    async def hashes(
        self, places: Sequence[tuple[AccountId, int]]
    ) -> Mapping[tuple[AccountId, int], str]:
        """The hashes that are kept at these places, by account and number."""
        ...


class PublishedAudit(Protocol):
    """The audit as it was told to the world."""

    def batches(self) -> AsyncIterator[Sequence[CredentialAudited]]:
        """All that is still there, in batches. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything that carrying out a command needs."""

    encryption: Encryption
    credentials: Credentials
    health: Health
    publish_state: PublishState
    catalog: Catalog
    egress_allowed: EgressAllowed
    clock: Clock
