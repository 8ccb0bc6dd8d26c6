"""Reading OpenAI's `chat.completion` and `chat.completion.chunk` into our own terms.

Tolerant of what providers leave out, put beside it or write as null; strict about what is there
being of the right kind. Variants that are read: `reasoning_content` (DeepSeek, xAI and others),
content as a list of parts (Mistral), arguments of a function as an object, choices without a
message or delta (Azure).
"""

from typing import Any, Final, assert_never

import msgspec

from services.dispatcher.domain.counts import ProviderCounts
from services.dispatcher.domain.reply import WholeReply, upstream_id
from services.dispatcher.outbound.providers.quirks import Quirks
from shared.events.replies import (
    Choice,
    FinishReason,
    FunctionCall,
    Message,
    ReasoningDetail,
    ToolCall,
)
from shared.events.usage import Usage

_ABSENT: Final = msgspec.Raw()
_ABSENT_OR_NULL: Final = (b"", b"null")

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "safety": "content_filter",
    "refusal": "content_filter",
    "insufficient_system_resource": "error",
    "network_error": "error",
}


class WirePart(msgspec.Struct):
    """One part of a content that is a list."""

    type: str | None = None
    text: str | None = None
    thinking: "str | list[WirePart] | None" = None


class WireFunction(msgspec.Struct):
    """A function call, or a piece of one."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class WireToolCall(msgspec.Struct):
    """A tool call, or a piece of one."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: WireFunction | None = None


class WireMessage(msgspec.Struct):
    """A message, or a delta of one."""

    role: str | None = None
    content: str | list[WirePart] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    refusal: str | None = None
    tool_calls: list[WireToolCall] | None = None
    annotations: list[msgspec.Raw] | None = None


class WireChoice(msgspec.Struct):
    """One choice; `message` when whole, `delta` when streamed, neither in Azure's annotations."""

    index: int | None = None
    message: WireMessage | None = None
    delta: WireMessage | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


class WireCompletion(msgspec.Struct):
    """A completion or a chunk; with `error`, neither. No answer fails for its `id`."""

    id: Any = None
    choices: list[WireChoice] | None = None
    usage: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    service_tier: str | None = None
    system_fingerprint: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _WireUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None


_decode_detail = msgspec.json.Decoder(ReasoningDetail).decode
decode_completion = msgspec.json.Decoder(WireCompletion).decode
"""Raises msgspec.MsgspecError or UnicodeDecodeError for what is no completion."""

# Numbers as text or as 12.0 are read too: a bill should not fail over them.
_decode_usage = msgspec.json.Decoder(_WireUsage, strict=False).decode


def is_given(raw: msgspec.Raw) -> bool:
    """Whether a field is there and not null."""
    return bytes(raw) not in _ABSENT_OR_NULL


def read_whole_reply(completion: WireCompletion, quirks: Quirks) -> WholeReply | None:
    """The reply; None when the body holds no choice, so that it is no completion."""
    choices = [read_choice(choice, whole=True) for choice in completion.choices or ()]
    if not choices:
        return None
    return WholeReply(
        choices=choices,
        usage=read_usage(completion.usage, quirks),
        upstream_id=upstream_id(completion.id),
        service_tier=completion.service_tier,
        system_fingerprint=completion.system_fingerprint,
    )


def read_choice(choice: WireChoice, *, whole: bool) -> Choice:
    """A choice in our terms, whole or a delta."""
    wire = choice.message if whole else choice.delta
    message = Message() if wire is None else _message(wire, whole=whole)
    native = choice.finish_reason or None  # some write "" while they are not done
    return Choice(
        index=choice.index or 0,
        message=message,
        finish_reason=None if native is None else normalised(native),
        native_finish_reason=native,
        logprobs=choice.logprobs.copy() if is_given(choice.logprobs) else None,
    )


def normalised(native: str) -> FinishReason:
    """OpenRouter's word for a provider's reason; an unknown reason is a plain stop."""
    return _FINISH_REASONS.get(native) or _FINISH_REASONS.get(native.lower(), "stop")


def read_usage(raw: msgspec.Raw, quirks: Quirks) -> Usage | None:
    """Inclusive counts; None when the provider did not tell, or told nonsense."""
    if not is_given(raw):
        return None
    try:
        told = _decode_usage(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if told.prompt_tokens is None or told.completion_tokens is None:
        return None
    prompt_details = told.prompt_tokens_details or _PromptDetails()
    completion_details = told.completion_tokens_details or _CompletionDetails()
    cached = prompt_details.cached_tokens
    return ProviderCounts(
        input_tokens=told.prompt_tokens,
        output_tokens=told.completion_tokens,
        cache_read_tokens=told.prompt_cache_hit_tokens if cached is None else cached,
        cache_write_tokens=prompt_details.cache_write_tokens,
        reasoning_tokens=completion_details.reasoning_tokens,
        cache_in_input=True,
        reasoning_in_output=not quirks.reasoning_counted_apart,
    ).inclusive()


def _message(wire: WireMessage, *, whole: bool) -> Message:
    content, reasoning = wire.content, wire.reasoning
    if reasoning is None:
        reasoning = wire.reasoning_content
    if isinstance(content, list):
        reasoning = _thoughts_of(content) if reasoning is None else reasoning
        content = _text_of(content)
    calls = wire.tool_calls
    return Message(
        role="assistant" if whole else wire.role,
        content=content,
        reasoning=reasoning,
        reasoning_details=_details(wire.reasoning_details),
        refusal=wire.refusal,
        tool_calls=[_tool_call(call, at, whole=whole) for at, call in enumerate(calls)]
        if calls
        else None,
        # Raw values point into the answer's bytes; copies let those go.
        annotations=[each.copy() for each in wire.annotations] if wire.annotations else None,
    )


def _details(told: list[msgspec.Raw] | None) -> list[ReasoningDetail] | None:
    """The details in OpenRouter's shapes; those of shapes not known here are left out."""
    details: list[ReasoningDetail] = []
    for raw in told or ():
        try:
            details.append(_decode_detail(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return details or None


def _tool_call(call: WireToolCall, position: int, *, whole: bool) -> ToolCall:
    function = call.function
    # Clients insist on the type with the piece that opens a call, and some providers leave it out.
    kind = call.type or ("function" if whole or call.id else None)
    index = position if call.index is None else call.index
    return ToolCall(
        index=None if whole else index,
        id=call.id,
        type=kind,
        function=None
        if function is None
        else FunctionCall(name=function.name, arguments=_arguments(function.arguments)),
    )


def _arguments(arguments: str | dict[str, Any] | None) -> str | None:
    match arguments:
        case dict():
            return msgspec.json.encode(arguments).decode()
        case str() | None:
            return arguments
        case _:
            assert_never(arguments)


def _text_of(parts: list[WirePart]) -> str | None:
    texts = [part.text for part in parts if part.type in {None, "text"} and part.text]
    return "".join(texts) if texts else None


def _thoughts_of(parts: list[WirePart]) -> str | None:
    texts: list[str] = []
    for part in parts:
        match part.thinking:
            case str(text):
                texts.append(text)
            case list(inner):
                texts.extend(each.text for each in inner if each.text)
            case None:
                pass
            case _:
                assert_never(part.thinking)
    return "".join(texts) if texts else None
