"""Reading what Converse answers, and the usage in it and in its stream.

botocore has read the JSON by its models, which drop what they do not know and check no types: those
are checked here.
"""

from base64 import b64encode
from typing import Any, Final

import msgspec

from services.dispatcher.domain.counts import ProviderCounts
from services.dispatcher.domain.reply import WholeReply
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

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}


class WireUsage(msgspec.Struct, rename="camel"):
    """Bedrock's counts: `inputTokens` leave out what a cache gave and took."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class WireReasoningText(msgspec.Struct):
    """Thinking in the open."""

    text: str | None = None
    signature: str | None = None


class WireReasoning(msgspec.Struct, rename="camel"):
    """One of the two is there."""

    reasoning_text: WireReasoningText | None = None
    redacted_content: bytes | None = None


class WireToolUse(msgspec.Struct, rename="camel"):
    """A call of a tool."""

    tool_use_id: str | None = None
    name: str | None = None
    input: Any = None


class WireBlock(msgspec.Struct, rename="camel"):
    """One block of an answer; what else it may be is not looked at."""

    text: str | None = None
    tool_use: WireToolUse | None = None
    reasoning_content: WireReasoning | None = None


class _Message(msgspec.Struct):
    content: list[WireBlock]


class _Output(msgspec.Struct):
    message: _Message


class _Answer(msgspec.Struct, rename="camel"):
    output: _Output
    stop_reason: str
    usage: WireUsage | None = None


def normalised(native: str) -> FinishReason:
    """OpenRouter's word for a stop reason; an unknown reason is a plain stop."""
    return _FINISH_REASONS.get(native, "stop")


def read_usage(told: WireUsage | None) -> Usage | None:
    """Inclusive counts; None when the provider did not tell. Thinking is part of the output."""
    if told is None or told.input_tokens is None or told.output_tokens is None:
        return None
    return ProviderCounts(
        input_tokens=told.input_tokens,
        output_tokens=told.output_tokens,
        cache_read_tokens=told.cache_read_input_tokens,
        cache_write_tokens=told.cache_write_input_tokens,
        cache_in_input=False,
        reasoning_in_output=True,
    ).inclusive()


def encrypted(content: bytes, index: int) -> ReasoningEncrypted:
    """Thinking that only Claude can read, as the client sends it back."""
    return ReasoningEncrypted(data=b64encode(content).decode(), format=FORMAT, index=index)


def read_answer(
    answer: dict[str, Any], *, is_claude: bool, excludes_reasoning: bool
) -> WholeReply | None:
    """The reply; None when the body is no answer that came to its end."""
    try:
        wire = msgspec.convert(answer, _Answer, builtin_types=(bytes,))
    except msgspec.ValidationError:
        return None
    texts: list[str] = []
    details: list[ReasoningDetail] = []
    calls: list[ToolCall] = []
    for block in wire.output.message.content:
        if block.text is not None:
            texts.append(block.text)
        if block.tool_use is not None:
            calls.append(_tool_call(block.tool_use))
        if block.reasoning_content is not None and not excludes_reasoning:
            details += _thought(block.reasoning_content, len(details), is_claude=is_claude)
    choice = whole_choice(
        texts=texts,
        details=details,
        calls=calls,
        finish_reason=normalised(wire.stop_reason),
        native=wire.stop_reason,
    )
    return WholeReply(choices=[choice], usage=read_usage(wire.usage))


def _thought(told: WireReasoning, index: int, *, is_claude: bool) -> list[ReasoningDetail]:
    if told.redacted_content is not None:
        return [encrypted(told.redacted_content, index)]
    if told.reasoning_text is None:
        return []
    detail = ReasoningText(
        text=told.reasoning_text.text or "",
        signature=told.reasoning_text.signature or None,
        format=FORMAT if is_claude else None,
        index=index,
    )
    return [detail]


def _tool_call(told: WireToolUse) -> ToolCall:
    arguments = {} if told.input is None else told.input
    return ToolCall(
        id=told.tool_use_id or "",
        type="function",
        function=FunctionCall(
            name=told.name or "", arguments=msgspec.json.encode(arguments).decode()
        ),
    )
