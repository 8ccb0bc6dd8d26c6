"""Writing a chat request as an OpenAI-compatible provider wants it: only what it knows.

Unknown arguments are refused by most (400 or 422), and OpenRouter's contract is that what a model
does not support is ignored; so an allow-list decides, never a deny-list.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import ProviderFailure, not_taken
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.outbound.providers.efforts import ASKED, effort_fields
from services.dispatcher.outbound.providers.quirks import Quirks

_NULL: Final = b"null"
_USAGE_WANTED: Final = msgspec.Raw(b'{"include_usage":true}')
_SAMPLING: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "presence_penalty",
        "temperature",
        "top_logprobs",
        "top_p",
    }
)
_PRICED_APART: Final = frozenset({"service_tier", "web_search_options"})
"""Cost more than the list price, so they are for people's own keys, never for shared capacity."""
_DEVELOPER: Final = b'"developer"'
_CACHE_CONTROL: Final = b'"cache_control"'
_SYSTEM: Final = msgspec.Raw(b'"system"')


_messages_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_encode = msgspec.json.Encoder().encode


def request_body(
    attempt: Attempt, request: ChatRequest, quirks: Quirks, *, streamed: bool, usage_asked: bool
) -> bytes | ProviderFailure:
    """The JSON body of one call, or why it cannot be made as the client insists.

    `usage_asked` is whether `stream_options` may be sent.
    """
    endpoint_model = attempt.endpoint.provider_model
    names = (_last_part(attempt.model), _last_part(endpoint_model))
    arguments = _arguments(request.fields, quirks, names)
    if not attempt.is_byok:
        arguments -= _PRICED_APART
    body: dict[str, Any] = {"model": endpoint_model}
    if not ASKED.isdisjoint(request.fields):
        limit = attempt.endpoint.output_tokens_max
        effort = effort_fields(request, quirks.efforts_of(names), output_tokens_max=limit)
        body |= effort or {}
        heeded = ASKED if effort is not None else frozenset[str]()
    else:
        heeded = frozenset()
    if request.preferences.require_parameters:
        missing = request.parameters - arguments - heeded
        if missing:
            return not_taken(missing)
    for name, raw in request.fields.items():
        if name not in arguments or bytes(raw) == _NULL:
            continue
        body[quirks.renamed.get(name, name)] = raw
    body["messages"] = _messages(request.fields["messages"], quirks)
    if request.max_tokens is not None:
        limits_completion = _any_matches(quirks.completion_limit_models, names)
        body["max_completion_tokens" if limits_completion else "max_tokens"] = request.max_tokens
    if streamed:
        body["stream"] = True
        if usage_asked and quirks.usage_on_request:
            body["stream_options"] = _USAGE_WANTED
    return _encode(body)


def _arguments(
    fields: Mapping[str, msgspec.Raw], quirks: Quirks, names: tuple[str, str]
) -> frozenset[str]:
    arguments = quirks.arguments
    if not _SAMPLING.isdisjoint(fields) and _any_matches(quirks.fixed_sampling_models, names):
        arguments -= _SAMPLING
    return arguments


def _messages(raw: msgspec.Raw, quirks: Quirks) -> Any:
    """The messages without fields that only answers have; untouched when nothing is to be done."""
    try:
        messages = _messages_decoder.decode(raw)
    except msgspec.MsgspecError:
        return raw  # not what a provider takes; it will say so in its own words
    text = bytes(raw)
    known = quirks.message_fields
    strip_cache_control = _CACHE_CONTROL in text
    rename_developer = not quirks.knows_developer_role and _DEVELOPER in text
    untouched = not strip_cache_control and not rename_developer
    if untouched and all(message.keys() <= known for message in messages):
        return raw
    for message in messages:
        for name in message.keys() - known:
            del message[name]
        if strip_cache_control and "content" in message:
            message["content"] = _parts(message["content"])
        if rename_developer and bytes(message.get("role", _SYSTEM)) == _DEVELOPER:
            message["role"] = _SYSTEM
    return messages


def _parts(content: msgspec.Raw) -> Any:
    """The content without marks for caches, which only Anthropic's models know."""
    try:
        parts = _messages_decoder.decode(content)
    except msgspec.MsgspecError:
        return content
    for part in parts:
        part.pop("cache_control", None)
    return parts


def _last_part(model: str) -> str:
    return model.rpartition("/")[2]


def _any_matches(models: Any, names: tuple[str, str]) -> bool:
    return any(models.match(name) is not None for name in names)
