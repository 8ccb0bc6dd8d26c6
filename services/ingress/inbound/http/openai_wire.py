"""Parts of a reply as OpenAI's JSON with OpenRouter's additions, in the forms that clients insist on.

Known from running the published clients: `system_fingerprint` must stand in a whole completion and
must not be null in a chunk; null `tool_calls`, `reasoning_details` or token details are refused; `cost_details` needs both
parts; `finish_reason` is null only in chunks.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from shared.events.replies import (
    Choice,
    FunctionCall,
    Message,
    ReasoningDetail,
    ReplyCompleted,
    ReplyUsage,
    ToolCall,
)
from shared.money import usd_string


class WireMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole message; only `content` may be null, which says that there are tool calls instead."""

    role: str
    content: str | None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    annotations: list[msgspec.Raw] | None = None


class WireChoice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A choice of a whole completion."""

    index: int
    message: WireMessage
    finish_reason: str
    native_finish_reason: str
    logprobs: msgspec.Raw | None = None


class WireCompletion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    provider: str
    system_fingerprint: str | None
    choices: list[WireChoice]
    usage: msgspec.Raw
    service_tier: str | None = None
    openrouter_metadata: msgspec.Raw | None = None


class WireDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A choice of a chunk."""

    index: int
    delta: Message
    finish_reason: str | None
    native_finish_reason: str | None
    logprobs: msgspec.Raw | None = None


class WireChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A chunk of a stream. What is None is left out."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[WireDelta]
    provider: str | None = None
    usage: msgspec.Raw | None = None
    error: msgspec.Raw | None = None
    service_tier: str | None = None
    openrouter_metadata: msgspec.Raw | None = None


_encoder = msgspec.json.Encoder()


def encode(value: WireCompletion | WireChunk) -> bytes:
    """As JSON."""
    return _encoder.encode(value)


def usage_json(usage: ReplyUsage) -> msgspec.Raw:
    """`usage` of a completion."""
    cache_write = (
        f',"cache_write_tokens":{usage.cache_write_tokens}' if usage.cache_write_tokens else ""
    )
    text = (
        f'{{"prompt_tokens":{usage.prompt_tokens}'
        f',"completion_tokens":{usage.completion_tokens}'
        f',"total_tokens":{usage.prompt_tokens + usage.completion_tokens}'
        f',"prompt_tokens_details":{{"cached_tokens":{usage.cached_tokens}{cache_write}}}'
        f',"completion_tokens_details":{{"reasoning_tokens":{usage.reasoning_tokens}}}'
        f",{cost_fields(usage)}}}"
    )
    return msgspec.Raw(text.encode())


def cost_fields(usage: ReplyUsage) -> str:
    """The part of `usage` that is about money, as JSON: USD as exact decimal numbers.

    With an own key `cost` is our fee and `upstream_inference_cost` the list cost; with credits `cost`
    is all, and `upstream_inference_cost` is null so that clients which add both stay right.
    """
    upstream = usd_string(usage.list_cost_nano_usd) if usage.is_byok else "null"
    return (
        f'"cost":{usd_string(usage.cost_nano_usd)}'
        f',"is_byok":{"true" if usage.is_byok else "false"}'
        f',"cost_details":{{"upstream_inference_cost":{upstream}'
        f',"upstream_inference_prompt_cost":{usd_string(usage.list_prompt_cost_nano_usd)}'
        f',"upstream_inference_completions_cost":{usd_string(usage.list_completion_cost_nano_usd)}'
        "}"
    )


def completion(
    generation_id: str, completed: ReplyCompleted, *, openrouter_metadata: msgspec.Raw | None
) -> bytes:
    """A whole completion as JSON."""
    return encode(
        WireCompletion(
            id=generation_id,
            object="chat.completion",
            created=completed.created,
            model=completed.model,
            provider=completed.provider_name,
            system_fingerprint=completed.system_fingerprint,
            choices=[_whole(choice) for choice in completed.choices],
            usage=usage_json(completed.usage),
            service_tier=completed.service_tier,
            openrouter_metadata=openrouter_metadata,
        )
    )


def deltas(choices: Sequence[Choice], begun: set[int]) -> list[WireDelta]:
    """The choices of a chunk; the first of each index says whose message it is."""
    return [
        WireDelta(
            index=choice.index,
            delta=_delta(choice, begun),
            finish_reason=choice.finish_reason,
            native_finish_reason=choice.native_finish_reason or choice.finish_reason,
            logprobs=choice.logprobs,
        )
        for choice in choices
    ]


def _delta(choice: Choice, begun: set[int]) -> Message:
    if choice.index in begun:
        return choice.message
    begun.add(choice.index)
    if choice.message.role is not None:
        return choice.message
    return msgspec.structs.replace(choice.message, role="assistant")


def _whole(choice: Choice) -> WireChoice:
    message = choice.message
    finish_reason = choice.finish_reason or "stop"
    return WireChoice(
        index=choice.index,
        message=WireMessage(
            role=message.role or "assistant",
            content=message.content,
            reasoning=message.reasoning,
            reasoning_details=message.reasoning_details,
            refusal=message.refusal,
            tool_calls=[_whole_call(each) for each in message.tool_calls or ()] or None,
            annotations=message.annotations,
        ),
        finish_reason=finish_reason,
        native_finish_reason=choice.native_finish_reason or finish_reason,
        logprobs=choice.logprobs,
    )


def _whole_call(call: ToolCall) -> ToolCall:
    function = call.function or FunctionCall()
    return ToolCall(
        id=call.id or "",
        type=call.type or "function",
        function=FunctionCall(name=function.name or "", arguments=function.arguments or ""),
    )
