"""What the dispatcher asks of the world.

Providers are built by `services/dispatcher/outbound/providers/registry.py`:

    open_providers(*, endpoints: Mapping[str, str], egress_allow: frozenset[str], clock: Clock)
        -> AbstractAsyncContextManager[Mapping[str, Provider]]

`endpoints` is PROVIDER_ENDPOINTS (slug to base URL), `egress_allow` the `host:port` of EGRESS_ALLOW;
the mapping is by provider slug.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.embedding import EmbeddingRequest, TellUsage, untold
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import Embeddings, StreamPiece, WholeReply
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.domain.run import Ending, Run
from shared.events.billing import AccountBalance, AuthorizeSpend, SpendAuthorized, SpendRefused
from shared.events.catalog import ModelListed
from shared.events.completions import CompletionRequested
from shared.events.credential_health import CredentialChecked
from shared.events.credential_secrets import CredentialSecret
from shared.events.credentials import CredentialChanged
from shared.events.generations import GenerationAbandoned, GenerationFinished
from shared.events.replies import ReplyPart
from shared.events.routing import FallbackDecided, HealthChanged
from shared.ids import AccountId, CredentialId, RunId
from shared.sealing import Seal

ProviderSecret = CredentialSecret
"""An opened credential, in the shape in which key_vault keeps it."""


class Provider(Protocol):
    """Calls the endpoints of one provider.

    A failure is a value, never an exception; what is raised is a bug, or the caller's cancellation,
    upon which the call to the provider is stopped at once. Connecting has a deadline of its own
    inside; the caller bounds the whole call and the wait for the first token. `attempt.endpoint` says
    which model to ask for; an Azure secret holds the resource that `attempt.endpoint.resource` names,
    or without one the deployment for `attempt.model` with `attempt.endpoint.provider_model` as its
    `model_id`.
    """

    async def complete(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> WholeReply | ProviderFailure:
        """Call without streaming; one await."""
        ...

    def stream(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> AsyncGenerator[StreamPiece, None]:
        """Call and yield pieces as they come; the last is a StreamEnded or a ProviderFailure.

        Deltas that are empty or hold only a role may be yielded; the caller holds them back until
        the first token. Closing the generator stops the call.
        """
        ...

    async def embed(
        self,
        attempt: Attempt,
        secret: ProviderSecret,
        request: EmbeddingRequest,
        tell_usage: TellUsage = untold,
    ) -> Embeddings | ProviderFailure:
        """A vector for each input, in as many calls as the provider needs for them.

        Of several calls `tell_usage` hears what they counted as each is answered: it was used though
        another one fails, or the caller gives up.
        """
        ...

    async def check(self, attempt: Attempt, secret: ProviderSecret) -> ProviderFailure | None:
        """The cheapest call that proves the credential; None when the provider takes it.

        `attempt` is of `domain/check.py`: it names one deployment, or no model at all.
        """
        ...


class Catalog(Protocol):
    """The models there are."""

    def model(self, slug: str) -> ModelListed | None:
        """A model with its endpoints, or None when it is not known."""
        ...


class Credentials(Protocol):
    """What is known of credentials; their secrets are not."""

    def of(self, account_id: AccountId) -> Sequence[CredentialChanged]:
        """All credentials of an account, in no order."""
        ...

    def find(self, account_id: AccountId, credential_id: CredentialId) -> CredentialChanged | None:
        """One credential, enabled or not, as it stands now."""
        ...

    def is_current(self, credential: CredentialChanged) -> bool:
        """Whether it still stands as it was planned with, and is enabled."""
        ...

    def problem(self) -> str | None:
        """Why this knowledge must not be relied on now, or None."""
        ...


class BalanceSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An account's state at billing as last heard, and what it used in the last five minutes."""

    balance: AccountBalance | None
    is_fresh: bool
    used_recently: int


class Balances(Protocol):
    """What is known of accounts' credits and allotments without asking."""

    def of(self, account_id: AccountId) -> BalanceSeen:
        """The last state heard."""
        ...


class Secrets(Protocol):
    """Opens credentials."""

    async def open(self, credential: CredentialChanged) -> ProviderSecret | None:
        """The secret, or None when the ciphertext cannot be opened; Unavailable("vault")."""
        ...


class WireKeys(Protocol):
    """Unwraps the data keys that contents are sealed with."""

    async def unwrap(self, wrapped: str) -> bytes | None:
        """The data key, or None when it cannot be unwrapped any more; Unavailable("vault")."""
        ...


class Spending(Protocol):
    """Asks billing before money can be spent."""

    async def authorize(self, command: AuthorizeSpend) -> SpendAuthorized | SpendRefused:
        """Its answer; Unavailable("billing") when there is none in time."""
        ...


class Facts(Protocol):
    """What happened, made durable. All raise Unavailable("kafka") when not acknowledged in 5 s."""

    async def finished(self, fact: GenerationFinished) -> None:
        """A run ended; returns once billing is sure to hear of it."""
        ...

    async def abandoned(self, fact: GenerationAbandoned) -> None:
        """Nothing of a generation may be charged."""
        ...

    async def fell_back(self, fact: FallbackDecided) -> None:
        """An attempt failed and the next one is tried."""
        ...


class CheckResults(Protocol):
    """Where the results of checks are told."""

    async def checked(self, result: CredentialChecked) -> None:
        """Return once it is durable; Unavailable("kafka") after 5 s."""
        ...


class HealthBroadcast(Protocol):
    """Tells the other dispatchers."""

    def tell(self, change: HealthChanged) -> None:
        """Send it in the background; losing one costs an attempt elsewhere and nothing else."""
        ...


class ReplyStream(Protocol):
    """The way of one run's reply to the ingress that waits for it."""

    def put(self, part: ReplyPart) -> None:
        """Add a part; Unavailable("kafka") once the stream is broken."""
        ...

    async def room(self) -> None:
        """Return once little enough is buffered; Unavailable("kafka")."""
        ...

    async def close(self, part: ReplyPart) -> None:
        """Send what is left and the last part in the last frame; Unavailable("kafka")."""
        ...


class Replies(Protocol):
    """Opens the way back."""

    def open(self, asked: CompletionRequested, run_id: RunId, seal: Seal) -> ReplyStream:
        """A reply stream of one run; nothing is sent yet."""
        ...


class Claim(Protocol):
    """Our right to one request."""

    async def won(self) -> bool:
        """True once it is ours alone; False when somebody else will get it."""
        ...

    def done(self) -> None:
        """The run has ended, however."""
        ...


class Observer(Protocol):
    """Logs and metrics of one generation; never its content."""

    def ended(self, run: Run, ending: Ending, seconds: float) -> None:
        """A run is over."""
        ...

    def broke(self, run: Run, error: Exception) -> None:
        """A bug of ours ended a run."""
        ...
