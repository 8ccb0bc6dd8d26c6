"""The content of reply frames: an answer in OpenAI's terms, normalised, before any HTTP shape.

These parts travel sealed, so they are no events and stand on no topic by themselves.
"""

from typing import Any, Literal

import msgspec

from shared.events.billing import KeyLimitReached, RateLimitReached
from shared.ids import CredentialId

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]
"""OpenRouter's normalised reasons; the provider's own word is kept beside it."""


class FunctionCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function call, or a piece of one while streaming."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call; `index` says to which call a streamed piece belongs."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionCall | None = None


class _ReasoningDetail(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"
):
    """A piece of reasoning that a later request sends back unchanged.

    `format` says whose it is (`anthropic-claude-v1`, ...): only they can read signature and data.
    While streaming, pieces of the same `index` are one detail.
    """

    id: str | None = None
    format: str | None = None
    index: int | None = None


class ReasoningText(_ReasoningDetail, frozen=True, kw_only=True, tag="reasoning.text"):
    """Reasoning in the open; `signature` proves to the provider that it is its own."""

    text: str | None = None
    signature: str | None = None


class ReasoningSummary(_ReasoningDetail, frozen=True, kw_only=True, tag="reasoning.summary"):
    """What the reasoning came to, where the provider keeps the reasoning itself."""

    summary: str | None = None


class ReasoningEncrypted(_ReasoningDetail, frozen=True, kw_only=True, tag="reasoning.encrypted"):
    """Reasoning that only the provider can read."""

    data: str | None = None


ReasoningDetail = ReasoningText | ReasoningSummary | ReasoningEncrypted
"""OpenRouter's three shapes."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An assistant's message, or a delta of one. Absent and null are the same: left out."""

    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    annotations: list[msgspec.Raw] | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One choice of a completion, whole or a delta.

    `logprobs` is the provider's JSON as it is; written from a msgspec.Raw, read as plain values
    (msgspec cannot read a Raw that may be null).
    """

    index: int = 0
    message: Message
    finish_reason: FinishReason | None = None
    native_finish_reason: str | None = None
    logprobs: Any = None


class ReplyUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the generation used and costs, as the client is told; amounts are nano-USD.

    `prompt_tokens` includes cached and cache-write tokens, `completion_tokens` includes reasoning.
    For BYOK `cost_nano_usd` is the fee and the list costs are filled; else it is the charge.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano_usd: int
    is_byok: bool
    list_cost_nano_usd: int
    list_prompt_cost_nano_usd: int
    list_completion_cost_nano_usd: int
    estimated: bool = False


class AttemptSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt as the client may see it."""

    provider: str
    model: str
    endpoint: str
    status: int | None = None
    credential_id: CredentialId | None = None
    tier: str
    failure: str | None = None


class ReplyStarted(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """First part of a streamed reply: from here on nothing falls back."""

    model: str
    provider_name: str
    created: int


class ReplyDelta(msgspec.Struct, frozen=True, kw_only=True, tag="delta"):
    """A piece of a streamed reply."""

    choices: list[Choice]


class ReplyVectors(msgspec.Struct, frozen=True, kw_only=True, tag="vectors"):
    """Embeddings in the order of the inputs; each is its little-endian 32 bit floats as base64."""

    vectors: list[str]


class ReplyCompleted(
    msgspec.Struct, frozen=True, kw_only=True, tag="completed", omit_defaults=True
):
    """The end of a reply: whole choices when it was not streamed, none when it was.

    `vectors` follow those of the `ReplyVectors` before, which only a long answer has.
    """

    model: str
    provider_name: str
    created: int
    choices: list[Choice]
    vectors: list[str] = []
    usage: ReplyUsage
    attempts: tuple[AttemptSummary, ...]
    service_tier: str | None = None
    system_fingerprint: str | None = None


class PaymentRequired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a 402 of ours is about: the request needs more than credits or the key's limit allow.

    `affordable_max_tokens` is the largest `max_tokens` that would fit, 0 when not even one token
    does; both counts are None for what has no answer in tokens (embeddings). `key_limit` is there when the key's limit is what refused.
    """

    needed_nano_usd: int
    available_nano_usd: int
    requested_max_tokens: int | None = None
    affordable_max_tokens: int | None = None
    key_limit: KeyLimitReached | None = None


class ReplyFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed", omit_defaults=True):
    """The end of a reply that failed. `status` is the HTTP status that the client should see.

    `error_type` is one of OpenRouter's error types; `raw` is the provider's own message, cut and
    redacted. `abandon` says that a fact may be on its way which calls the generation completed: the
    ingress, who ends the answer with this error, takes it back. `payment` is of a 402 and
    `rate_limit` of a 429 that are OpenRoute's own.
    """

    status: int
    message: str
    error_type: str
    provider_name: str | None = None
    provider_code: str | None = None
    raw: str | None = None
    retry_after_seconds: int | None = None
    attempts: tuple[AttemptSummary, ...] = ()
    abandon: bool = False
    payment: PaymentRequired | None = None
    rate_limit: RateLimitReached | None = None


ReplyPart = ReplyStarted | ReplyDelta | ReplyVectors | ReplyCompleted | ReplyFailed
