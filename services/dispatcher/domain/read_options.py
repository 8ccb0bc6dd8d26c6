"""Reading what stands beside the messages: tools, the form of the answer, sampling."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.dispatcher.domain.content_parts import WireCache, read_cache
from services.dispatcher.domain.conversation import (
    AnswerFormat,
    JsonSchema,
    NamedTool,
    Refused,
    Sampling,
    Tool,
    ToolChoice,
)

_ABSENT: Final = msgspec.Raw()
_ABSENT_OR_NULL: Final = (b"", b"null")
_SCHEMA_NAME: Final = "answer"


class _Function(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = _ABSENT
    strict: bool | None = None
    cache_control: WireCache | None = None


class _Tool(msgspec.Struct, frozen=True):
    type: str
    function: _Function | None = None
    cache_control: WireCache | None = None


class _NamedFunction(msgspec.Struct, frozen=True):
    name: str


class _ToolChoice(msgspec.Struct, frozen=True):
    type: str | None = None
    function: _NamedFunction | None = None


class _JsonSchema(msgspec.Struct, frozen=True):
    name: str | None = None
    description: str | None = None
    schema: msgspec.Raw = _ABSENT
    strict: bool | None = None


class _ResponseFormat(msgspec.Struct, frozen=True):
    type: str
    json_schema: _JsonSchema | None = None


class WireReasoning(msgspec.Struct, frozen=True):
    """OpenRouter's `reasoning`."""

    effort: str | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None


class WireOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that are read, as they are written; all others are only counted as given."""

    tools: list[_Tool] | None = None
    tool_choice: str | _ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _ResponseFormat | None = None
    reasoning: WireReasoning | None = None
    reasoning_effort: str | None = None
    include_reasoning: bool | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    min_p: float | None = None
    top_a: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    user: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    cache_control: WireCache | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The sequences that end the answer; empty ones never could."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(each for each in stop if each)

    @property
    def sampling(self) -> Sampling:
        """How words are drawn."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=None if self.top_k is None else int(self.top_k),
            min_p=self.min_p,
            top_a=self.top_a,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            repetition_penalty=self.repetition_penalty,
            logit_bias=self.logit_bias,
            seed=self.seed,
            logprobs=self.logprobs,
            top_logprobs=self.top_logprobs,
        )


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class ToolsOffered:
    """What may be called, and what must."""

    tools: tuple[Tool, ...]
    choice: ToolChoice | None


def tools_offered(options: WireOptions) -> ToolsOffered | Refused:
    """The functions that the model may call, and the choice among them."""
    tools = _tools(options)
    if isinstance(tools, Refused):
        return tools
    choice = _tool_choice(options)
    return choice if isinstance(choice, Refused) else ToolsOffered(tools, choice)


def _tools(options: WireOptions) -> tuple[Tool, ...] | Refused:
    """The functions on offer; tools of other kinds run at a provider and are not passed on."""
    offered: list[Tool] = []
    for at, each in enumerate(options.tools or ()):
        path = f"tools[{at}]"
        function = each.function
        if each.type != "function" or function is None:
            return Refused(f"{path}.type", "only functions can be passed on")
        if not function.name:
            return Refused(f"{path}.function.name", "must not be empty")
        parameters = _object(function.parameters, f"{path}.function.parameters")
        if isinstance(parameters, Refused):
            return parameters
        offered.append(
            Tool(
                name=function.name,
                description=function.description,
                parameters=parameters,
                strict=function.strict,
                cache=read_cache(each.cache_control or function.cache_control),
            )
        )
    return tuple(offered)


def _tool_choice(options: WireOptions) -> ToolChoice | Refused | None:
    """Which tool is to be called."""
    match options.tool_choice:
        case None:
            return None
        case "none" | "auto" | "required" as choice:
            return choice
        case _ToolChoice(function=_NamedFunction(name=name)):
            return NamedTool(name)
        case _:
            return Refused("tool_choice", "must be none, auto, required or name a function")


def answer_format(options: WireOptions) -> AnswerFormat | Refused:
    """In which form to answer."""
    wanted = options.response_format
    if wanted is None:
        return "text"
    match wanted.type:
        case "text" | "json_object" as form:
            return form
        case "json_schema":
            pass
        case _:
            return Refused("response_format.type", "must be text, json_object or json_schema")
    path = "response_format.json_schema.schema"
    told = wanted.json_schema or _JsonSchema()
    schema = _object(told.schema, path)
    if isinstance(schema, Refused):
        return schema
    if schema is None:
        return Refused(path, "must be given")
    return JsonSchema(
        name=told.name or _SCHEMA_NAME,
        schema=schema,
        strict=told.strict,
        description=told.description,
    )


def _object(raw: msgspec.Raw, path: str) -> msgspec.Raw | Refused | None:
    """A JSON object's text, a copy; None when it is absent or null."""
    if bytes(raw) in _ABSENT_OR_NULL:
        return None
    try:
        _decode_object(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Refused(path, "must be a JSON object")
    return raw.copy()
