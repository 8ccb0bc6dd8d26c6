"""OpenRouter's chat request as far as it is checked here: the type of every field that it knows.

Fields that nobody knows pass, for providers have their own; so do values that only a provider can
judge. What is checked is never rewritten: the client's own bytes travel on, sealed.
"""

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, get_args

import msgspec

from services.ingress.domain import refusals
from services.ingress.domain.client_identifiers import Identifier, problem_of
from services.ingress.domain.json_input import read_json
from services.ingress.domain.refusals import Refusal
from shared.events.generations import Operation

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool", "function"]
Object: TypeAlias = dict[str, Any]
Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]

MODELS_MAX: Final = 16
_CHOICES: Final = {"role": get_args(Role)}


class ContentPart(msgspec.Struct, frozen=True):
    """One part of a message; parts of kinds not known here pass."""

    type: str
    text: str | None = None
    image_url: Object | str | None = None
    input_audio: Object | None = None
    file: Object | None = None
    video_url: Object | str | None = None
    cache_control: Object | None = None


class CalledFunction(msgspec.Struct, frozen=True):
    """What an assistant called."""

    name: str | None = None
    arguments: str | None = None


class CalledTool(msgspec.Struct, frozen=True):
    """One of an assistant's tool calls."""

    id: str | None = None
    type: str | None = None
    function: CalledFunction | None = None
    index: int | None = None


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[CalledTool] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Object] | None = None
    images: list[Object] | None = None
    model: str | None = None
    cache_control: Object | None = None


class OfferedFunction(msgspec.Struct, frozen=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class OfferedTool(msgspec.Struct, frozen=True):
    """A tool that the model may call."""

    type: str
    function: OfferedFunction | None = None
    cache_control: Object | None = None


class ProviderPreferences(msgspec.Struct, frozen=True):
    """Which providers may serve. `byok_only` is our own: no shared capacity for this request."""

    order: list[str] | None = None
    only: list[str] | None = None
    ignore: list[str] | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    byok_only: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    enforce_distillable_text: bool | None = None
    quantizations: list[str] | None = None
    sort: str | Object | None = None
    max_price: Object | None = None
    preferred_min_throughput: float | Object | None = None
    preferred_max_latency: float | Object | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """In which form to answer."""

    type: str
    json_schema: Object | None = None
    grammar: str | None = None


class Reasoning(msgspec.Struct, frozen=True):
    """How much to think."""

    effort: str | None = None
    summary: str | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None


class Plugin(msgspec.Struct, frozen=True):
    """A plugin that is asked for."""

    id: str
    enabled: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /chat/completions."""

    OPERATION: ClassVar[Operation] = "chat"

    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]
    model: str | None = None
    models: Annotated[list[str], msgspec.Meta(max_length=MODELS_MAX)] | None = None
    provider: ProviderPreferences | None = None
    stream: bool | None = None
    stream_options: Object | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    top_a: float | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    seed: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    tools: list[OfferedTool] | None = None
    tool_choice: str | Object | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    prediction: Object | None = None
    modalities: list[str] | None = None
    metadata: Object | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Object | None = None
    service_tier: str | None = None
    user: Identifier | None = None
    route: str | None = None
    plugins: list[Plugin] | None = None
    reasoning: Reasoning | None = None
    reasoning_effort: str | None = None
    include_reasoning: bool | None = None
    verbosity: str | None = None
    session_id: Identifier | None = None
    trace: Object | None = None
    cache_control: Object | None = None
    image_config: Object | None = None
    debug: Object | None = None
    usage: Object | None = None
    transforms: list[str] | None = None
    preset: str | None = None
    web_search_options: Object | None = None

    @property
    def requested_models(self) -> tuple[str, ...]:
        """The models in order of preference, each once."""
        named = (self.model,) if self.model is not None else ()
        return tuple(dict.fromkeys((*named, *self.models))) if self.models else named

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is to come as events."""
        return bool(self.stream)

    @property
    def is_byok_only(self) -> bool:
        """Whether this request keeps away from shared capacity."""
        return self.provider is not None and bool(self.provider.byok_only)


def read_chat_request(body: bytes) -> ChatRequest | Refusal:
    """The request, or what is wrong with it and where."""
    read = read_json(body, ChatRequest, choices=_CHOICES)
    if isinstance(read, Refusal):
        return read
    if read.model is None and not read.models:
        return refusals.invalid("name a model, or several in `models`", field="model")
    return problem_of(user=read.user, session_id=read.session_id) or read
