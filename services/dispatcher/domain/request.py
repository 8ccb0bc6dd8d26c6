"""A client's chat request, read as far as the dispatcher needs it.

The body is OpenRouter's chat request, which ingress has validated. What routing needs becomes
fields; every other field stays the JSON text that the client sent, so that an adapter which passes
it on need not decode and encode it again.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec
from typing_extensions import override

MODELS_MAX = 16
"""Models that one request may name; further ones are not looked at."""

_NOT_FOR_PROVIDERS = frozenset(
    {
        "debug",
        "max_completion_tokens",
        "max_tokens",
        "model",
        "models",
        "plugins",
        "preset",
        "provider",
        "route",
        "session_id",
        "stream",
        "stream_options",
        "trace",
        "transforms",
        "usage",
    }
)
"""Fields that are read here, or are OpenRouter's own: no adapter ever sees them."""


_NO_PARAMETERS = frozenset({"messages", "metadata", "user", "input", "encoding_format"})
_NULL = b"null"


class ProviderPreferences(msgspec.Struct, frozen=True):
    """Which providers may serve, in the client's words; slugs in lower case. None restricts nothing.

    A base slug (`google-vertex`) means all of the provider's endpoints.
    """

    order: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None
    allow_fallbacks: bool | None = True
    require_parameters: bool | None = False
    byok_only: bool | None = False


_NO_PREFERENCES = ProviderPreferences()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, as far as routing looks at it. `models` are slugs in order of preference, at least one.

    `fields` are the client's fields but for those that are read apart, each as raw JSON; an adapter
    takes those that its provider understands.
    """

    models: tuple[str, ...]
    preferences: ProviderPreferences
    fields: Mapping[str, msgspec.Raw]

    @property
    def parameters(self) -> frozenset[str]:
        """What a provider must take where `require_parameters` insists: the fields that are given.

        Not who asks and what about, nor how we write the answer.
        """
        given = {name for name, raw in self.fields.items() if bytes(raw) != _NULL}
        return frozenset(given - _NO_PARAMETERS)

    @property
    def prompt_bytes(self) -> int:
        """Bytes of everything that a provider counts as prompt: messages, tools, schemas, inputs."""
        return sum(memoryview(raw).nbytes for raw in self.fields.values())

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is to come in pieces."""
        return False


class ChatRequest(Request, frozen=True, kw_only=True):
    """A chat completion. Of `fields`, `messages` is always there, then `temperature`, `tools`, ...

    `max_tokens` bounds the completion, whichever of the two field names the client used; an adapter
    writes it under the name that its provider wants. `choices_wanted` is the field `n`. `anthropic_betas`
    are features of Claude that the client names; other models' adapters pass them over.
    """

    stream: bool
    max_tokens: int | None
    choices_wanted: int = 1
    anthropic_betas: tuple[str, ...] = ()

    @property
    @override
    def parameters(self) -> frozenset[str]:
        # one choice is what every provider gives
        given = super().parameters
        return given - {"n"} if self.choices_wanted == 1 else given

    @property
    @override
    def is_streamed(self) -> bool:
        return self.stream


class _Routing(msgspec.Struct):
    model: str | None = None
    models: list[str] | None = None
    provider: ProviderPreferences | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None


_routing_decoder = msgspec.json.Decoder(_Routing)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class UnreadableRequest(msgspec.Struct, frozen=True):
    """The body is no chat request; `message` says what and where, in words for the client."""

    message: str


def read_request(
    body: bytes, *, anthropic_betas: Sequence[str] = ()
) -> ChatRequest | UnreadableRequest:
    """Read the opened request body, and what came beside it."""
    try:
        routing = _routing_decoder.decode(body)
        fields = _fields_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return UnreadableRequest(f"the request body cannot be read: {error}")
    named = [routing.model] if routing.model else []
    models = _each_once([*named, *(routing.models or [])])
    if not models:
        return UnreadableRequest("model: name at least one model")
    if "messages" not in fields:
        return UnreadableRequest("messages: must be given")
    max_tokens = routing.max_completion_tokens
    return ChatRequest(
        models=models,
        preferences=in_lower_case(routing.provider),
        stream=bool(routing.stream),
        max_tokens=routing.max_tokens if max_tokens is None else max_tokens,
        choices_wanted=max(1, routing.n or 1),
        fields=for_providers(fields),
        anthropic_betas=tuple(anthropic_betas),
    )


def routing_of(models: Iterable[str], preferences: ProviderPreferences) -> Request:
    """A request without a prompt. `models` are at least one."""
    return Request(
        models=_each_once(models),
        preferences=in_lower_case(preferences),
        fields=MappingProxyType({}),
    )


def for_providers(fields: Mapping[str, msgspec.Raw]) -> Mapping[str, msgspec.Raw]:
    """The fields of a body that adapters may see."""
    return MappingProxyType(
        {name: raw for name, raw in fields.items() if name not in _NOT_FOR_PROVIDERS}
    )


def _each_once(models: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(models))[:MODELS_MAX]


def in_lower_case(preferences: ProviderPreferences | None) -> ProviderPreferences:
    """Clients also send display names (`Anthropic`); slugs are lower case."""
    if preferences is None:
        return _NO_PREFERENCES
    return msgspec.structs.replace(
        preferences,
        order=_lowered(preferences.order),
        only=_lowered(preferences.only),
        ignore=_lowered(preferences.ignore),
    )


def _lowered(slugs: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return (
        None if slugs is None else tuple(slug.strip().lower().replace(" ", "-") for slug in slugs)
    )
