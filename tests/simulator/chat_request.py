"""The body of a chat completions request, read as strictly as OpenAI reads it.

Unknown top-level arguments, wrong types and parameters that a model family does not take are 400s.
"""

import re
from typing import Any

import msgspec

from tests.simulator import usage
from tests.simulator.errors import Cause, RequestRefused

_REASONING_MODEL = re.compile(r"(?:gpt-5|o\d)(?:$|[-.])")
_EMPTY_OBJECT: dict[str, Any] = {}


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """`stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Every top-level argument of OpenAI's reference (autumn 2026); any other is refused."""

    messages: list[dict[str, Any]]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    audio: Any = None
    frequency_penalty: float | None = None
    function_call: Any = None
    functions: Any = None
    logit_bias: Any = None
    logprobs: bool | None = None
    metadata: Any = None
    modalities: Any = None
    parallel_tool_calls: bool | None = None
    prediction: Any = None
    presence_penalty: float | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    response_format: Any = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: str | None = None
    stop: Any = None
    store: bool | None = None
    top_logprobs: int | None = None
    user: str | None = None
    verbosity: str | None = None
    web_search_options: Any = None

    @property
    def tokens_max(self) -> int | None:
        """The request's own limit on the answer."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def usage_wanted(self) -> bool:
        """Whether a stream is to end with a usage chunk."""
        return self.stream_options is not None and self.stream_options.include_usage is True

    @property
    def stops(self) -> frozenset[str]:
        """Words that end the answer."""
        return frozenset([self.stop] if isinstance(self.stop, str) else self.stop or ())

    @property
    def schema(self) -> Any:
        """The JSON schema that the answer is to follow, None without one."""
        match self.response_format:
            case {"type": "json_schema", "json_schema": {"schema": schema}}:
                return schema
            case _:
                return None

    def thinking_wanted(self) -> bool:
        """Whether the answer shows what the model thought; OpenAI keeps that to itself."""
        return False

    def tools_wanted(self) -> list[dict[str, Any]]:
        """The `function`s to call: of the first tool when the conversation ends by "use the tool",
        of each when by "use the tools" and calls may be parallel, and of one that must be called.
        """
        if not self.tools or self.tool_choice == "none":
            return []
        match self.tool_choice:
            case {"function": {"name": name}}:
                return [each for each in self._functions(self.tools) if each.get("name") == name]
            case "required":
                return self._functions(self.tools[:1])
            case _:
                pass
        if self.messages[-1].get("role") != "user":
            return []
        text = usage.last_user_text(self.messages).lower()
        if "use the tool" not in text:
            return []
        together = "use the tools" in text and self.parallel_tool_calls is not False
        tools = self.tools if together else self.tools[:1]
        return self._functions(tools)

    def _functions(self, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        functions = [tool.get("function") for tool in tools]
        return [each if isinstance(each, dict) else _EMPTY_OBJECT for each in functions]


class Outline(msgspec.Struct):
    """The little that the call log wants to know of a body, valid or not."""

    model: Any = None
    stream: Any = None


_DECODER = msgspec.json.Decoder(ChatRequest)
_OUTLINE_DECODER = msgspec.json.Decoder(Outline)
_KNOWN = frozenset(ChatRequest.__struct_fields__)


def outline(body: bytes) -> Outline:
    """What can be said of a body that was refused."""
    try:
        return _OUTLINE_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Outline()


def decode(body: bytes) -> ChatRequest:
    """Read a body; raises RequestRefused with OpenAI's message."""
    try:
        try:
            request = _DECODER.decode(body)
        except msgspec.ValidationError as problem:
            raise _explained(body, problem) from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise RequestRefused(
            Cause.BAD_JSON,
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't "
            "using your HTTP library correctly. The OpenAI API expects a JSON payload, but what "
            "was sent was not valid JSON.)",
        ) from problem
    _check(request)
    return request


def refuse_for_model(request: ChatRequest, model: str) -> None:
    """Raise RequestRefused for what this model family does not take."""
    if request.max_tokens is not None and _REASONING_MODEL.match(model):
        raise RequestRefused(
            Cause.UNSUPPORTED_PARAMETER,
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            param="max_tokens",
        )


def unknown_argument(*names: str) -> RequestRefused:
    """OpenAI's refusal of arguments that it does not know."""
    plural = "s" if len(names) > 1 else ""
    return RequestRefused(
        Cause.UNKNOWN_ARGUMENT,
        f"Unrecognized request argument{plural} supplied: {', '.join(names)}",
    )


def _explained(body: bytes, problem: msgspec.ValidationError) -> RequestRefused:
    content = msgspec.json.decode(body)
    if not isinstance(content, dict):
        return RequestRefused(Cause.INVALID_TYPE, "Invalid type for the body: expected an object.")
    unknown = sorted(content.keys() - _KNOWN)
    if unknown:
        return unknown_argument(*unknown)
    if "messages" not in content:
        return RequestRefused(
            Cause.MISSING_PARAMETER, "Missing required parameter: 'messages'.", param="messages"
        )
    what, _, where = str(problem).partition(" - at `$.")
    param = where.rstrip("`")
    return RequestRefused(Cause.INVALID_TYPE, f"Invalid type for '{param}': {what}.", param=param)


def _check(request: ChatRequest) -> None:
    if not request.messages:
        raise RequestRefused(
            Cause.INVALID_VALUE,
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            param="messages",
        )
    for index, message in enumerate(request.messages):
        if "role" not in message:
            param = f"messages[{index}].role"
            raise RequestRefused(
                Cause.MISSING_PARAMETER, f"Missing required parameter: '{param}'.", param=param
            )
    if request.tokens_max is not None and request.tokens_max < 1:
        param = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
        raise RequestRefused(
            Cause.INVALID_VALUE,
            f"Invalid '{param}': integer below minimum value. Expected a value >= 1, "
            f"but got {request.tokens_max} instead.",
            param=param,
        )
    if request.stream_options is not None and not request.stream:
        raise RequestRefused(
            Cause.INVALID_VALUE,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
