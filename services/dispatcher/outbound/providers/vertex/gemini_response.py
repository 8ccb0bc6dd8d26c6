"""Reading Gemini's `GenerateContentResponse`: the whole of an answer, and each chunk of a stream.

Reference: docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference. Counts: the
prompt's include what came from the cache; the candidates' leave thoughts out. Absent is zero.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import msgspec

from services.dispatcher.domain.counts import ProviderCounts
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.vertex.gemini_contents import FORMAT
from services.dispatcher.outbound.providers.vertex.gemini_logprobs import WireLogprobs
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
_NO_ARGUMENTS: Final = "{}"
_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MALFORMED_RESPONSE": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
}


class WireFunctionCall(msgspec.Struct):
    """A function call, always whole."""

    name: str = ""
    id: str | None = None
    args: msgspec.Raw = _ABSENT


class WirePart(msgspec.Struct, rename="camel"):
    """One part of an answer, of any kind."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: WireFunctionCall | None = None


class WireContent(msgspec.Struct):
    """What a candidate says."""

    parts: list[WirePart] | None = None


class WireCandidate(msgspec.Struct, rename="camel"):
    """One choice, or a piece of one."""

    index: int | None = None
    content: WireContent | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    logprobs_result: WireLogprobs | None = None

    @property
    def parts(self) -> list[WirePart]:
        """What it says."""
        return (self.content and self.content.parts) or []


class WireUsage(msgspec.Struct, rename="camel"):
    """`usageMetadata`."""

    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None


class _PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class WireAnswer(msgspec.Struct, rename="camel"):
    """An answer or a chunk; with `error`, neither."""

    candidates: list[WireCandidate] | None = None
    prompt_feedback: _PromptFeedback | None = None
    usage_metadata: WireUsage | None = None
    response_id: str | None = None
    error: msgspec.Raw = _ABSENT


decode_answer = msgspec.json.Decoder(WireAnswer, strict=False).decode
"""Raises msgspec.MsgspecError or UnicodeDecodeError for what is no answer."""


def normalised(native: str) -> FinishReason:
    """OpenRouter's word for a finish reason; an unknown reason is a plain stop."""
    return _FINISH_REASONS.get(native, "stop")


def failure_in(answer: WireAnswer, failures: FailureReader) -> ProviderFailure | None:
    """The error that stands in an answer's place, or what it refused or could not finish."""
    if bytes(answer.error) not in {b"", b"null"}:
        return failures.from_error(answer.error)
    feedback = answer.prompt_feedback
    if feedback is not None and feedback.block_reason and not answer.candidates:
        told = _told(failures, feedback.block_reason, feedback.block_reason_message)
        return replace(told, failure=FailureClass.CONTENT_REFUSED)
    for candidate in answer.candidates or ():
        native = candidate.finish_reason
        if native is not None and normalised(native) == "error":
            return _told(failures, native, candidate.finish_message)
    return None


def _told(failures: FailureReader, code: str, message: str | None) -> ProviderFailure:
    return failures.from_error(
        msgspec.Raw(msgspec.json.encode({"code": code, "message": message or code}))
    )


def read_usage(told: WireUsage | None) -> Usage | None:
    """Inclusive counts; None when the provider did not tell."""
    if told is None or told.prompt_token_count is None:
        return None
    return ProviderCounts(
        input_tokens=told.prompt_token_count + (told.tool_use_prompt_token_count or 0),
        output_tokens=told.candidates_token_count,
        cache_read_tokens=told.cached_content_token_count,
        reasoning_tokens=told.thoughts_token_count,
        cache_in_input=True,
        reasoning_in_output=False,
    ).inclusive()


def read_tool_call(
    call: WireFunctionCall, at: int, *, response_id: str | None, whole: bool
) -> ToolCall:
    """The call in our terms, `at` its place in the answer.

    Gemini mostly gives calls no id, and clients need one: it is made of the response's, which each
    answer has its own.
    """
    return ToolCall(
        index=None if whole else at,
        id=call.id or f"call_{response_id or 'gemini'}_{at}",
        type="function",
        function=FunctionCall(name=call.name, arguments=bytes(call.args).decode() or _NO_ARGUMENTS),
    )


class Thoughts:
    """Numbers the details of one candidate: pieces of one thought share an index."""

    __slots__ = ("_in_text", "_next")

    def __init__(self) -> None:
        """Begin before the first."""
        self._next = 0
        self._in_text = False

    def details(self, part: WirePart, call: ToolCall | None) -> Iterator[ReasoningDetail]:
        """What of a part is reasoning: its text when it is a thought, and its signature.

        The signature of a call carries the call's id, to find it again when both come back.
        """
        if part.thought and part.text:
            if not self._in_text:
                self._in_text = True
                self._next += 1
            yield ReasoningText(text=part.text, format=FORMAT, index=self._next - 1)
        if part.thought_signature:
            self._in_text = False
            self._next += 1
            yield ReasoningEncrypted(
                id=None if call is None else call.id,
                data=part.thought_signature,
                format=FORMAT,
                index=self._next - 1,
            )
