"""A completion on its way: asked for, answered in frames, cancelled, and who is alive meanwhile."""

from datetime import datetime
from typing import ClassVar, Literal

from shared.events.billing import ApiKeyLimit
from shared.events.envelope import Event
from shared.events.generations import Operation, RequestOrigin
from shared.ids import AccountId, ApiKeyHash, GenerationId, InstanceId, MemberId, RunId


class CompletionRequested(Event, frozen=True, kw_only=True):
    """A client asks for a completion, or for embeddings; the content is the sealed request body.

    No dispatcher may begin it after `start_by`, so that a record which arrives late is dropped
    rather than run and charged; at `deadline` it must have ended. `byok_only` is already the sum
    of the account's, the API key's and the request's own. `anthropic_betas` are the beta features that
    the client names for Anthropic's models (header `x-anthropic-beta`), their form checked. With
    `api_key_limit_counts_byok` the API key has a limit that BYOK use counts towards too, so billing is
    asked before each of them. `api_key_limit` is absent for a key that never had one; it travels here so
    that it binds before billing has taken `ApiKeyChanged` in.
    """

    HAS_CONTENT: ClassVar[bool] = True

    generation_id: GenerationId
    account_id: AccountId
    api_key_hash: ApiKeyHash
    member_id: MemberId | None = None
    operation: Operation = "chat"
    byok_only: bool = False
    anthropic_betas: tuple[str, ...] = ()
    api_key_limit_counts_byok: bool = False
    api_key_limit: ApiKeyLimit | None = None
    wire_key: str
    reply_instance: InstanceId
    reply_partition: int
    received_at: datetime
    start_by: datetime
    deadline: datetime
    origin: RequestOrigin | None = None


class ReplyFrame(Event, frozen=True, kw_only=True):
    """Pieces of a reply; the content is a sealed list of `shared.events.replies.ReplyPart`.

    Frames of a run are numbered from 0 without gaps; the one with `last` is let go only after the
    run's `GenerationFinished` is acknowledged.
    """

    HAS_CONTENT: ClassVar[bool] = True

    generation_id: GenerationId
    run_id: RunId
    number: int
    last: bool = False


class DispatcherAlive(Event, frozen=True, kw_only=True):
    """Once a second to each ingress that waits: the generations that this dispatcher holds."""

    instance_id: InstanceId
    generation_ids: list[GenerationId]


class GenerationCancelled(Event, frozen=True, kw_only=True):
    """The ingress no longer wants a generation, or only no longer the run named."""

    generation_id: GenerationId
    run_id: RunId | None = None
    reason: Literal["client_gone", "rival_run", "stopping", "abandoned"]
    deadline: datetime


class IngressAlive(Event, frozen=True, kw_only=True):
    """Once a second to every dispatcher, and to itself: a paused broker makes everyone look dead."""

    instance_id: InstanceId
    ordinal: int
    sent_at: datetime
