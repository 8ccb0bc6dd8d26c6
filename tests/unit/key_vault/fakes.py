"""key_vault's world without servers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.key_vault.domain.audit_chain import Head, link
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
from services.key_vault.domain.health import Observed, Usage, UsageKey
from services.key_vault.ports import AccountCredentials, Ports
from shared.errors import Unavailable
from shared.events.credential_audit import CredentialAudited
from shared.events.credential_health import CredentialCheckRequested
from shared.events.credentials import Section
from shared.ids import AccountId, CredentialId
from shared.secret import Secret

T = TypeVar("T")
Key = tuple[AccountId, CredentialId]


@dataclass
class SteppingClock:
    """Every look at it is a second later than the one before."""

    moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment

    def monotonic(self) -> float:
        return 0.0


@dataclass
class FakeEncryption:
    """Sealed keys are `<context>|<text>`; ciphertexts only look like Vault's."""

    is_available: bool = True
    encrypted: list[bytes] = field(default_factory=list)

    async def open_pasted(self, sealed_key: str, *, context: bytes) -> Secret | None:
        if not self.is_available:
            raise Unavailable("vault")
        made_for, _, text = sealed_key.partition("|")
        return Secret(text) if made_for.encode() == context else None

    async def encrypt(self, document: bytes, *, context: bytes) -> str:
        assert context
        self.encrypted.append(document)
        return f"vault:v1:{len(self.encrypted)}"


@dataclass
class InMemoryAccount:
    """The port AccountCredentials over the fake store."""

    store: "InMemoryCredentials"
    account_id: AccountId

    async def carried_out(self, command_id: str) -> CarriedOut | None:
        return self.store.commands.get((self.account_id, command_id))

    async def find(self, credential_id: CredentialId) -> Credential | None:
        return self.store.kept.get((self.account_id, credential_id))

    async def knows(self, credential_id: CredentialId) -> bool:
        key = (self.account_id, credential_id)
        return key in self.store.kept or key in self.store.removed

    async def count(self) -> int:
        return len(self.store.of(self.account_id))

    async def last_order(self, provider: str, section: Section) -> int | None:
        return max(
            (
                each.policy.order
                for each in self.store.of(self.account_id)
                if (each.provider, each.policy.section) == (provider, section)
            ),
            default=None,
        )

    async def keep(self, credential: Credential, at: datetime) -> None:
        assert at.tzinfo is UTC
        self.store.kept[self.account_id, credential.credential_id] = credential

    async def of_provider(self, provider: str) -> Sequence[Credential]:
        return [each for each in self.store.of(self.account_id) if each.provider == provider]

    async def move(self, credentials: Sequence[Credential], at: datetime) -> None:
        for each in credentials:
            await self.keep(each, at)

    async def wipe(self, credential: RemovedCredential, at: datetime) -> None:
        assert at.tzinfo is UTC
        key = (self.account_id, credential.credential_id)
        del self.store.kept[key]
        self.store.removed[key] = credential

    async def audit(self, command: ChangingCommand, deeds: Sequence[Deed], at: datetime) -> None:
        assert at.tzinfo is UTC
        chain = self.store.audit.setdefault(self.account_id, [])
        last = chain[-1] if chain else None
        head = Head() if last is None else Head(number=last.entry.number, hash=last.hash)
        chain += link(head, deeds, command, at)

    async def last_check(self, credential_id: CredentialId) -> Check | None:
        return self.store.checks.get((self.account_id, credential_id))

    async def ask_check(self, credential: Credential, at: datetime) -> None:
        request = request_of(credential, at)
        self.store.check_requests.append(request)
        self.store.checks[self.account_id, credential.credential_id] = Check(
            secret_revision=request.secret_revision,
            requested_at=request.requested_at,
            result=None,
        )

    async def record(self, command: ChangingCommand, outcome: Outcome, at: datetime) -> None:
        assert at.tzinfo is UTC
        self.store.commands[self.account_id, command.command_id] = CarriedOut(
            command_type=command_type(command),
            credential_id=credential_of(command),
            outcome=outcome,
        )


@dataclass
class InMemoryCredentials:
    """The port Credentials."""

    kept: dict[Key, Credential] = field(default_factory=dict)
    removed: dict[Key, RemovedCredential] = field(default_factory=dict)
    commands: dict[tuple[AccountId, str], CarriedOut] = field(default_factory=dict)
    audit: dict[AccountId, list[CredentialAudited]] = field(default_factory=dict)
    checks: dict[Key, Check] = field(default_factory=dict)
    check_requests: list[CredentialCheckRequested] = field(default_factory=list)
    before_transaction: Callable[[], None] = lambda: None

    def of(self, account_id: AccountId) -> list[Credential]:
        return [each for (owner, _), each in self.kept.items() if owner == account_id]

    async def carried_out(self, account_id: AccountId, command_id: str) -> CarriedOut | None:
        return self.commands.get((account_id, command_id))

    async def find(self, account_id: AccountId, credential_id: CredentialId) -> Credential | None:
        return self.kept.get((account_id, credential_id))

    async def page(
        self, account_id: AccountId, provider: str | None, *, offset: int, limit: int
    ) -> tuple[Sequence[Credential], int]:
        found = [each for each in self.of(account_id) if provider in {None, each.provider}]
        return found[offset : offset + limit], len(found)

    async def in_account(
        self, account_id: AccountId, work: Callable[[AccountCredentials], Awaitable[T]]
    ) -> T:
        self.before_transaction()
        return await work(InMemoryAccount(self, account_id))


@dataclass
class FakeHealth:
    """The port Health over the fake store."""

    store: InMemoryCredentials
    observed: dict[Key, Observed] = field(default_factory=dict)
    usage: dict[UsageKey, Usage] = field(default_factory=dict)

    async def of(
        self, account_id: AccountId, credential_ids: Sequence[CredentialId], month: str
    ) -> Mapping[CredentialId, tuple[Check | None, Observed | None, Usage | None]]:
        return {
            each: (
                self.store.checks.get((account_id, each)),
                self.observed.get((account_id, each)),
                self.usage.get((account_id, each, month)),
            )
            for each in credential_ids
        }


@dataclass
class FakePublisher:
    """Remembers what it was asked to publish."""

    is_available: bool = True
    published: list[Key] = field(default_factory=list)

    async def __call__(self, account_id: AccountId, credential_ids: Sequence[CredentialId]) -> None:
        if not self.is_available:
            raise Unavailable("kafka")
        self.published.extend((account_id, each) for each in credential_ids)


@dataclass
class FakeCatalog:
    """The port Catalog; None stands for one that is not read."""

    models: frozenset[str] | None = frozenset({"openai/gpt-4o", "mistralai/mistral-large"})

    def slugs(self) -> frozenset[str]:
        if self.models is None:
            raise Unavailable("catalog")
        return self.models


@dataclass
class World:
    """All of it, and the ports made of it."""

    encryption: FakeEncryption = field(default_factory=FakeEncryption)
    credentials: InMemoryCredentials = field(default_factory=InMemoryCredentials)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    catalog: FakeCatalog = field(default_factory=FakeCatalog)

    def __post_init__(self) -> None:
        self.health = FakeHealth(self.credentials)

    @property
    def ports(self) -> Ports:
        return Ports(
            encryption=self.encryption,
            credentials=self.credentials,
            health=self.health,
            publish_state=self.publisher,
            catalog=self.catalog,
            egress_allowed=frozenset(),
            clock=SteppingClock(),
        )
