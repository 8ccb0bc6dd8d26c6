"""Reading a ChatRequest's fields into a Conversation, or saying which field cannot be read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from services.dispatcher.domain.content_parts import (
    WireCache,
    WireContent,
    read_cache,
    read_content,
    read_texts,
)
from services.dispatcher.domain.conversation import (
    AssistantMessage,
    CacheMark,
    Conversation,
    ConversationMessage,
    Part,
    Refused,
    SystemMessage,
    Text,
    ToolCall,
    ToolResult,
    UserMessage,
)
from services.dispatcher.domain.read_options import WireOptions, answer_format, tools_offered
from services.dispatcher.domain.read_reasoning import read_details, read_reasoning
from services.dispatcher.domain.request import ChatRequest

_NULL: Final = b"null"
_EMPTY_OBJECT: Final = msgspec.Raw(b"{}")


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, frozen=True):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, frozen=True):
    role: str
    content: WireContent = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[_ToolCall] | None = None
    refusal: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    cache_control: WireCache | None = None


_AnyPart = TypeVar("_AnyPart", bound=Part)
_Read: TypeAlias = ConversationMessage | Refused

_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def read_conversation(request: ChatRequest) -> Conversation | Refused:
    """What the request means. The request's `n` of more than 1 is in `choices_wanted`."""
    given = {name: raw for name, raw in request.fields.items() if bytes(raw) != _NULL}
    options = _options(given)
    if isinstance(options, Refused):
        return options
    messages = _messages(given.get("messages", msgspec.Raw(b"[]")))
    if isinstance(messages, Refused):
        return messages
    offered = tools_offered(options)
    if isinstance(offered, Refused):
        return offered
    form = answer_format(options)
    if isinstance(form, Refused):
        return form
    reasoning = read_reasoning(options)
    if isinstance(reasoning, Refused):
        return reasoning
    return Conversation(
        messages=messages,
        tools=offered.tools,
        tool_choice=offered.choice,
        parallel_tool_calls=options.parallel_tool_calls,
        answer_format=form,
        reasoning=reasoning,
        sampling=options.sampling,
        stop=options.stops,
        max_tokens=request.max_tokens,
        choices_wanted=request.choices_wanted,
        user=options.user,
        verbosity=options.verbosity,
        service_tier=options.service_tier,
        cache=read_cache(options.cache_control),
        given=request.parameters,
        insists_on_parameters=bool(request.preferences.require_parameters),
    )


def _options(given: Mapping[str, msgspec.Raw]) -> WireOptions | Refused:
    known = {name: raw for name, raw in given.items() if name in WireOptions.__struct_fields__}
    try:
        return msgspec.json.decode(_encode(known), type=WireOptions)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _refused(error, "")


def _messages(raw: msgspec.Raw) -> tuple[ConversationMessage, ...] | Refused:
    try:
        wire = _decode_messages(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _refused(error, "messages")
    if not wire:
        return Refused("messages", "must not be empty")
    messages: list[ConversationMessage] = []
    for at, each in enumerate(wire):
        message = _message(each, f"messages[{at}]")
        if isinstance(message, Refused):
            return message
        messages.append(message)
    return tuple(messages)


def _refused(error: Exception, root: str) -> Refused:
    """What msgspec says: `Expected ... - at `$[0].content``; it never repeats a value."""
    why, _, where = str(error).partition(" - at `$")
    path = (root + where.rstrip("`")).lstrip(".")
    return Refused(path or root or "the body", why)


def _message(wire: _Message, path: str) -> _Read:
    match wire.role:
        case "system" | "developer":
            return _system(wire, path)
        case "user":
            return _user(wire, path)
        case "tool":
            return _tool_result(wire, path)
        case "assistant":
            return _assistant(wire, path)
        case _:
            return Refused(f"{path}.role", "must be system, developer, user, assistant or tool")


def _system(wire: _Message, path: str) -> _Read:
    texts = read_texts(wire.content, f"{path}.content")
    return texts if isinstance(texts, Refused) else SystemMessage(parts=_marked(texts, wire))


def _user(wire: _Message, path: str) -> _Read:
    parts = read_content(wire.content, f"{path}.content")
    return parts if isinstance(parts, Refused) else UserMessage(parts=_marked(parts, wire))


def _tool_result(wire: _Message, path: str) -> _Read:
    if not wire.tool_call_id:
        return Refused(f"{path}.tool_call_id", "must name the tool call that this answers")
    parts = read_content(wire.content, f"{path}.content")
    if isinstance(parts, Refused):
        return parts
    return ToolResult(
        tool_call_id=wire.tool_call_id, parts=_marked(parts, wire), name=wire.name or None
    )


def _assistant(wire: _Message, path: str) -> _Read:
    texts = read_texts(wire.content, f"{path}.content")
    if isinstance(texts, Refused):
        return texts
    if not texts and wire.refusal:
        texts = (Text(text=wire.refusal),)
    calls: list[ToolCall] = []
    for at, each in enumerate(wire.tool_calls or ()):
        call = _tool_call(each, f"{path}.tool_calls[{at}]")
        if isinstance(call, Refused):
            return call
        calls.append(call)
    return AssistantMessage(
        parts=_marked(texts, wire),
        tool_calls=tuple(calls),
        reasoning=read_details(wire.reasoning_details or ()),
    )


def _tool_call(wire: _ToolCall, path: str) -> ToolCall | Refused:
    function = wire.function
    if not wire.id:
        return Refused(f"{path}.id", "must be given")
    if function is None or not function.name:
        return Refused(f"{path}.function.name", "must be given")
    text = (function.arguments or "").strip()
    if not text:
        return ToolCall(id=wire.id, name=function.name, arguments=_EMPTY_OBJECT)
    try:
        _decode_object(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Refused(f"{path}.function.arguments", "must be the JSON text of an object")
    return ToolCall(id=wire.id, name=function.name, arguments=msgspec.Raw(text.encode()))


def _marked(parts: tuple[_AnyPart, ...], wire: _Message) -> tuple[_AnyPart, ...]:
    """The parts with the message's own mark for the cache on the last of them."""
    mark: CacheMark | None = read_cache(wire.cache_control)
    if mark is None or not parts or parts[-1].cache is not None:
        return parts
    return (*parts[:-1], replace(parts[-1], cache=mark))
