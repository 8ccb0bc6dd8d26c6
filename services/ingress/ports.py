"""What ingress asks of the world. Everything raises Unavailable when it does not answer in time."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, Protocol

from services.ingress.domain.api_key import ApiKey, Caller
from services.ingress.domain.api_key_forms import KeyChanges, NewKey
from shared.events.billing import AccountBalance
from shared.events.catalog import ModelListed
from shared.events.completions import CompletionRequested
from shared.events.envelope import CallReply, Event
from shared.events.payments import PaymentNotBooked, RecordDispute, RecordPayment, RecordRefund
from shared.events.plans import ExplainPlan
from shared.ids import AccountId, ApiKeyHash, CredentialId, GenerationId, MemberId, RunId
from shared.secret import Secret
from shared.vault.transit import DataKey


class ApiKeys(Protocol):
    """The books of API keys."""

    async def find(self, api_key_hash: ApiKeyHash) -> Caller | None:
        """Whom a key stands for, expired or not; None when it is unknown, disabled or deleted."""
        ...


class AccountApiKeys(Protocol):
    """An account's inference keys, for the account itself; its management keys are none of them.

    What is changed is told on `api-keys.state`.
    """

    async def page(
        self,
        account_id: AccountId,
        *,
        offset: int,
        limit: int,
        with_disabled: bool,
        unexpired_at: datetime | None,
    ) -> tuple[list[ApiKey], int]:
        """Some of them, oldest first, and how many there are; `unexpired_at` leaves out expired ones."""
        ...

    async def get(self, account_id: AccountId, api_key_hash: ApiKeyHash) -> ApiKey | None:
        """One of them."""
        ...

    async def add(
        self,
        account_id: AccountId,
        new: NewKey,
        *,
        api_key_hash: ApiKeyHash,
        label: str,
        keys_max: int,
    ) -> ApiKey | None:
        """Keep a new one; None when the account has `keys_max` already."""
        ...

    async def change(
        self, account_id: AccountId, api_key_hash: ApiKeyHash, changes: KeyChanges
    ) -> ApiKey | None:
        """Change one of them; None when it is none of them."""
        ...

    async def delete(self, account_id: AccountId, api_key_hash: ApiKeyHash) -> bool:
        """Take one of them out of use for good; False when it is none of them."""
        ...


class Members(Protocol):
    """What belongs to an account."""

    async def live_key_hashes(
        self, account_id: AccountId, hashes: Collection[ApiKeyHash]
    ) -> set[ApiKeyHash]:
        """Those of `hashes` that are the account's own keys and work now."""
        ...

    async def members(
        self, account_id: AccountId, member_ids: Collection[MemberId]
    ) -> set[MemberId]:
        """Those of `member_ids` that are members of the account."""
        ...

    async def key_hashes_of(self, account_id: AccountId, member_id: MemberId) -> set[ApiKeyHash]:
        """A member's API keys, those that are disabled too."""
        ...


class Accounts(Protocol):
    """The books of accounts."""

    async def exists(self, account_id: AccountId) -> bool:
        """Whether there is such an account."""
        ...


class Catalog(Protocol):
    """The models, as they stand on their topic."""

    def problem(self) -> str | None:
        """Why the catalog must not be relied on now, or None."""
        ...

    def slugs(self) -> Collection[str]:
        """All models."""
        ...

    def embedding_slugs(self) -> Collection[str]:
        """Those among them that make embeddings and do not chat."""
        ...

    def providers(self) -> frozenset[str]:
        """The providers that serve them."""
        ...

    def models(self) -> Sequence[ModelListed]:
        """All of them, by slug. The same object until something changes."""
        ...


class Balances(Protocol):
    """What billing publishes of accounts."""

    def get(self, account_id: AccountId) -> AccountBalance | None:
        """The newest state, or None when there is none yet."""
        ...


class WireKeys(Protocol):
    """The data key that seals content on its way through Kafka."""

    def current(self) -> DataKey:
        """The present key."""
        ...


class Requests(Protocol):
    """Where completions are asked for."""

    async def emit(self, event: CompletionRequested, sealed_body: bytes) -> None:
        """Return once it is durable; Unavailable after 5 s, and then it may still arrive."""
        ...


NEVER_TAKEN: Final = "not_acknowledged"
"""Why a generation is abandoned whose request Kafka did not take in time."""


class Announcements(Protocol):
    """What is told to dispatchers and billing without waiting; delivered until acknowledged."""

    def cancel(self, generation_id: GenerationId, *, run_id: RunId | None, reason: str) -> None:
        """The generation, or only one run of it, is no longer wanted."""
        ...

    def abandon(self, generation_id: GenerationId, *, account_id: AccountId, reason: str) -> None:
        """Its answer ended with an error of ours: nothing of it may be charged."""
        ...


class Intake(Protocol):
    """Encrypts what a person pastes, so that key_vault alone can open it."""

    async def seal(
        self,
        pasted: Secret,
        *,
        account_id: AccountId,
        credential_id: CredentialId,
        command_id: str,
    ) -> str:
        """The ciphertext, good for this command alone."""
        ...


class CredentialCommands(Protocol):
    """key_vault."""

    async def ask(self, command: Event, *, account_id: AccountId) -> CallReply:
        """Its answer."""
        ...


class Billing(Protocol):
    """billing."""

    async def ask(self, query: Event, *, account_id: AccountId) -> CallReply:
        """Its answer."""
        ...


class Payments(Protocol):
    """Who is told of payments."""

    async def tell(self, command: RecordPayment | RecordRefund | RecordDispute) -> CallReply:
        """Billing's answer."""
        ...

    async def report(self, report: PaymentNotBooked) -> None:
        """Tell operators what was not booked; return once it is durable."""
        ...


class PaymentMeasurements(Protocol):
    """What is counted of payments."""

    def taken(self, event_type: str, outcome: str) -> None:
        """An event was taken in; both are words of a small set."""
        ...


class Plans(Protocol):
    """The dispatchers, asked what they would do."""

    async def ask(self, question: ExplainPlan) -> CallReply:
        """The answer of one of them."""
        ...


class Measurements(Protocol):
    """What is counted."""

    def frame_read(self) -> None:
        """A frame of a generation that waits."""
        ...
