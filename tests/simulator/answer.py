"""The answer to one request, before any wire gives it a shape."""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from tests.simulator import usage
from tests.simulator.call_log import WireName
from tests.simulator.chat_request import ChatRequest
from tests.simulator.errors import ErrorAnswer, RequestRefused
from tests.simulator.scripts import Status
from tests.simulator.usage import Usage

FINGERPRINT = "fp_simulator"
_ARGUMENT_PIECE_CHARACTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call of a function; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str

    @property
    def pieces(self) -> list[str]:
        """The arguments as a stream hands them out."""
        step = _ARGUMENT_PIECE_CHARACTERS
        return [self.arguments[at : at + step] for at in range(0, len(self.arguments), step)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Everything that a wire needs to write a completion or its chunks."""

    id: str
    created: int
    model: str
    words: list[str]
    finish_reason: str
    stop: str | None = None
    tool_calls: tuple[ToolCall, ...]
    thought: str | None = None
    usage: Usage
    usage_told: bool
    usage_chunk: bool

    @property
    def text(self) -> str:
        """The whole text."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """A stream as bytes: what comes before the content, the content, and what ends it."""

    opening: bytes
    pieces: list[bytes]
    closing: bytes
    content_type: str = "text/event-stream; charset=utf-8"


class Wire(Protocol):
    """One provider's way to say things."""

    @property
    def name(self) -> WireName:
        """The name in the call log."""
        ...

    def completion(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        ...

    def events(self, answer: Answer) -> Events:
        """The events of a streamed answer."""
        ...

    def refused_key(self, credential: str | None) -> ErrorAnswer:
        """401."""
        ...

    def refused_request(self, refusal: RequestRefused) -> ErrorAnswer:
        """400."""
        ...

    def scripted(self, step: Status, *, model: str, credential: str) -> ErrorAnswer:
        """What this provider answers with the step's status."""
        ...

    def late_error(self, model: str) -> ErrorAnswer:
        """The error that stands in a 200."""
        ...

    def error_event(self, error: ErrorAnswer) -> bytes:
        """An error in a stream."""
        ...


def _sample(schema: Any) -> Any:
    match schema:
        case {"enum": [first, *_]}:
            return first
        case {"type": "integer" | "number"}:
            return 1
        case {"type": "boolean"}:
            return True
        case {"type": "array"}:
            return []
        case {"type": "object"}:
            return {name: _sample(inner) for name, inner in schema.get("properties", {}).items()}
        case _:
            return usage.VOCABULARY[0]


def _tool_call(call_id: str, at: int, function: dict[str, Any]) -> ToolCall:
    parameters = function.get("parameters") or {"type": "object"}
    suffix = f"_{at}" if at else ""
    return ToolCall(
        id="call_" + call_id.removeprefix("chatcmpl-").removeprefix("msg_") + suffix,
        name=str(function.get("name", "")),
        arguments=msgspec.json.encode(_sample(parameters)).decode(),
    )


def compose(
    request: ChatRequest,
    *,
    call_id: str,
    created: int,
    model: str,
    cached_tokens: int,
    cache_write_tokens: int,
    reasoning_tokens: int,
    usage_told: bool,
    empty: bool,
) -> Answer:
    """Work out the answer to `request`; see `usage` for the arithmetic."""
    asked_for = usage.words_asked_for(usage.last_user_text(request.messages))
    count = usage.completion_tokens(request.messages, request.tokens_max)
    finish_reason = "length" if count < asked_for else "stop"
    words = usage.answer_words(count)
    stopped = next((at for at, word in enumerate(words) if word in request.stops), None)
    stop = None if stopped is None else words[stopped]
    if stopped is not None:
        words, finish_reason = words[:stopped], "stop"
    if request.schema is not None:
        words, finish_reason = [msgspec.json.encode(_sample(request.schema)).decode()], "stop"
    functions = () if empty else request.tools_wanted()
    tokens = len(words)
    if empty:
        words, tokens, finish_reason = [], 0, "stop"
    elif functions:
        words, tokens, finish_reason = [], usage.TOOL_CALL_TOKENS * len(functions), "tool_calls"
    thought = usage.THOUGHT if request.thinking_wanted() and not empty else None
    if thought is not None:
        reasoning_tokens += len(thought.split())
    prompt_tokens = usage.prompt_tokens(request.messages)
    return Answer(
        id=call_id,
        created=created,
        model=model,
        words=words,
        finish_reason=finish_reason,
        stop=stop,
        tool_calls=tuple(_tool_call(call_id, at, each) for at, each in enumerate(functions)),
        thought=thought,
        usage=Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=tokens + reasoning_tokens,
            cached_tokens=min(cached_tokens, prompt_tokens),
            cache_write_tokens=min(
                cache_write_tokens, prompt_tokens - min(cached_tokens, prompt_tokens)
            ),
            reasoning_tokens=reasoning_tokens,
        ),
        usage_told=usage_told,
        usage_chunk=request.usage_wanted and usage_told,
    )


def usage_body(used: Usage) -> dict[str, Any]:
    """OpenAI's `usage` object."""
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
