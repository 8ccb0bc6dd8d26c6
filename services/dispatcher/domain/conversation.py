"""A chat request as a conversation: what it means, whoever is to answer it.

For adapters of providers that do not speak OpenAI's format; those that do write the request's raw
fields on and never come here. `read_conversation.py` makes a Conversation of a ChatRequest,
`turns.py` puts its messages into alternating turns, `thinking.py` turns an effort into a budget.

An adapter does three things with it. What it can say it says. A part that it cannot say, it answers
with `Refused(part.path, ...).at_provider()`. Of the parameters that it does not take it asks
`left_out`, which is None unless the client insists on them (`provider.require_parameters`).

Nothing here does I/O, and a link is never followed: the provider fetches it.
"""

import binascii
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import msgspec

from services.dispatcher.domain.failure import FailureClass, ProviderFailure, not_taken
from shared.events.replies import ReasoningDetail

UNSUPPORTED_CONTENT: Final = "unsupported_content"

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@dataclass(frozen=True, slots=True)
class Refused:
    """What cannot be said. `path` is the field as the client wrote it: `messages[1].content[0]`."""

    path: str
    why: str

    def as_bad_input(self) -> ProviderFailure:
        """For what no provider could understand: a 400 to the client."""
        return ProviderFailure(
            failure=FailureClass.INVALID_REQUEST, code="bad_field", raw=f"{self.path}: {self.why}"
        )

    def at_provider(self) -> ProviderFailure:
        """For what this provider does not take: the next one is tried, a 400 when there is none."""
        return ProviderFailure(
            failure=FailureClass.UNSUPPORTED,
            code=UNSUPPORTED_CONTENT,
            raw=f"{self.path}: {self.why}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMark:
    """The prompt up to here may be cached. `ttl` None is the provider's default (5 minutes)."""

    ttl: Literal["5m", "1h"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Content inside the request. `base64` is standard base64 with padding, and decodes."""

    media_type: str
    base64: str

    @property
    def content(self) -> bytes:
        """The bytes; decoded anew each time."""
        return binascii.a2b_base64(self.base64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Content at an https address, for the provider to fetch."""

    url: str


Source: TypeAlias = Data | Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text; may be empty, which some providers refuse."""

    text: str
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture."""

    source: Source
    path: str = field(compare=False)
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A document, a PDF mostly; a Link does not say of what type."""

    source: Source
    path: str = field(compare=False)
    filename: str | None = None
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """A recording."""

    source: Data
    path: str = field(compare=False)
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A film."""

    source: Source
    path: str = field(compare=False)
    cache: CacheMark | None = None


Part: TypeAlias = Text | Image | File | Audio | Video


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A function that the assistant called. `arguments` is the JSON text of an object."""

    id: str
    name: str
    arguments: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMessage:
    """What the operator says: roles `system` and `developer`, text only."""

    parts: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    """What the user says."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantMessage:
    """An earlier answer. `reasoning` are whole details in order, of any provider's format."""

    parts: tuple[Text, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: tuple[ReasoningDetail, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a called function answered."""

    tool_call_id: str
    parts: tuple[Part, ...]
    name: str | None = None


ConversationMessage: TypeAlias = SystemMessage | UserMessage | AssistantMessage | ToolResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that may be called. `parameters` is the JSON text of a schema, an object."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw | None = None
    strict: bool | None = None
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class NamedTool:
    """The tool choice that leaves one tool only."""

    name: str


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | NamedTool


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchema:
    """The answer is to be JSON of this schema (the JSON text of an object)."""

    name: str
    schema: msgspec.Raw
    strict: bool | None = None
    description: str | None = None


AnswerFormat: TypeAlias = Literal["text", "json_object"] | JsonSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """How much to think. `is_wanted` None says nothing: the model's own way holds.

    At most one of `effort` and `max_tokens` is set; neither with `is_wanted` is a medium effort.
    `exclude` keeps the reasoning out of the answer, though not out of the bill.
    """

    is_wanted: bool | None = None
    effort: Effort | None = None
    max_tokens: int | None = None
    exclude: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How words are drawn; None leaves it to the model."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    top_a: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What is asked for. `given` are the parameters that the client chose (`ChatRequest.parameters`)."""

    messages: tuple[ConversationMessage, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    answer_format: AnswerFormat = "text"
    reasoning: Reasoning = Reasoning()
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    choices_wanted: int = 1
    user: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    cache: CacheMark | None = None
    given: frozenset[str] = frozenset()
    insists_on_parameters: bool = False

    def left_out(self, taken: frozenset[str]) -> ProviderFailure | None:
        """None when what is not `taken` may be dropped; else why this provider cannot serve."""
        missing = self.given - taken if self.insists_on_parameters else None
        return not_taken(missing) if missing else None
