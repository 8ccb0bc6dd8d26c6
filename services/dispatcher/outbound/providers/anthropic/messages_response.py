"""Reading Anthropic's `message` and the usage that stands in it and in its stream.

Tolerant of blocks and fields that are not known here; strict about those that are.
"""

from typing import Any, Final

import msgspec

from services.dispatcher.domain.counts import ProviderCounts
from services.dispatcher.domain.reply import WholeReply, upstream_id
from services.dispatcher.outbound.providers.answer_blocks import whole_choice
from services.dispatcher.outbound.providers.anthropic.content_blocks import FORMAT
from shared.events.replies import (
    FinishReason,
    FunctionCall,
    ReasoningDetail,
    ReasoningEncrypted,
    ReasoningText,
    ToolCall,
)
from shared.events.usage import Usage

_ABSENT: Final = msgspec.Raw()
_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class WireOutputDetails(msgspec.Struct):
    """What of the output was thinking."""

    thinking_tokens: int | None = None


class WireUsage(msgspec.Struct):
    """Counts so far; a later one replaces what it tells and leaves the rest."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: WireOutputDetails | None = None
    service_tier: str | None = None


class WireBlock(msgspec.Struct):
    """One block of an answer, of any type."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _ABSENT


class WireMessage(msgspec.Struct):
    """A whole answer, or its beginning in a stream. No answer fails for its `id`."""

    id: Any = None
    type: str | None = None
    content: list[WireBlock] | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None
    error: msgspec.Raw = _ABSENT


decode_message = msgspec.json.Decoder(WireMessage, strict=False).decode
"""Raises msgspec.MsgspecError or UnicodeDecodeError for what is no message."""


def normalised(native: str) -> FinishReason:
    """OpenRouter's word for a stop reason; an unknown reason is a plain stop."""
    return _FINISH_REASONS.get(native, "stop")


def read_usage(told: WireUsage | None) -> Usage | None:
    """Inclusive counts; None when the provider did not tell."""
    if told is None or told.input_tokens is None or told.output_tokens is None:
        return None
    details = told.output_tokens_details or WireOutputDetails()
    return ProviderCounts(
        input_tokens=told.input_tokens,
        output_tokens=told.output_tokens,
        cache_read_tokens=told.cache_read_input_tokens,
        cache_write_tokens=told.cache_creation_input_tokens,
        reasoning_tokens=details.thinking_tokens,
        cache_in_input=False,
        reasoning_in_output=True,
    ).inclusive()


def later_usage(before: WireUsage, after: WireUsage) -> WireUsage:
    """What holds once `after` was told behind `before`."""
    told = {name: value for name, value in _fields(after) if value is not None}
    return msgspec.structs.replace(before, **told)


def _fields(told: WireUsage) -> list[tuple[str, Any]]:
    return [(name, getattr(told, name)) for name in told.__struct_fields__]


def read_whole_reply(wire: WireMessage, *, excludes_reasoning: bool) -> WholeReply | None:
    """The reply; None when the body is no message that came to its end."""
    if wire.type != "message" or wire.content is None or wire.stop_reason is None:
        return None
    texts: list[str] = []
    details: list[ReasoningDetail] = []
    calls: list[ToolCall] = []
    for block in wire.content:
        match block.type:
            case "text":
                texts.append(block.text or "")
            case "tool_use":
                calls.append(_tool_call(block))
            case "thinking" | "redacted_thinking" if not excludes_reasoning:
                details.append(read_thought(block, index=len(details)))
            case _:
                pass
    choice = whole_choice(
        texts=texts,
        details=details,
        calls=calls,
        finish_reason=normalised(wire.stop_reason),
        native=wire.stop_reason,
    )
    return WholeReply(
        choices=[choice],
        usage=read_usage(wire.usage),
        upstream_id=upstream_id(wire.id),
        service_tier=None if wire.usage is None else wire.usage.service_tier,
    )


def read_thought(block: WireBlock, *, index: int) -> ReasoningDetail:
    """A block of thinking as the client sends it back."""
    if block.type == "redacted_thinking":
        return ReasoningEncrypted(data=block.data or "", format=FORMAT, index=index)
    return ReasoningText(
        text=block.thinking or "", signature=block.signature or None, format=FORMAT, index=index
    )


def _tool_call(block: WireBlock) -> ToolCall:
    arguments = bytes(block.input).decode() or "{}"
    return ToolCall(
        id=block.id or "",
        type="function",
        function=FunctionCall(name=block.name or "", arguments=arguments),
    )
