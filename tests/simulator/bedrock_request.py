"""The body of a Converse request, read as strictly as Bedrock reads it.

Unknown fields, blocks of unknown kinds, roles that do not alternate and what the model does not take are
ValidationExceptions; texts follow what the service answers (its reference and public reports, autumn
2026).
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from typing_extensions import override

from tests.simulator.bedrock_blocks import check_messages, check_system
from tests.simulator.chat_request import ChatRequest
from tests.simulator.errors import Cause, RequestRefused

_PROFILES: Final = frozenset({"us", "eu", "apac", "jp", "au", "ca", "global"})
_NEED_A_PROFILE: Final = (
    "amazon.nova-2",
    "anthropic.",
    "deepseek.r1",
    "meta.llama3-1",
    "meta.llama3-3",
    "meta.llama4",
)
_MODEL: Final = re.compile(r"(?!missing)[a-z0-9]+\.[a-z0-9.:-]+")
"""Any name of the right form is a model, but for those of `missing`."""
OUTPUT_TOKENS_MAX: Final = 128_000
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CLAUDE_FIELDS: Final = frozenset(
    {"thinking", "output_config", "top_k", "anthropic_beta", "tool_choice"}
)


class _Inference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] = []


class _Schema(msgspec.Struct, forbid_unknown_fields=True):
    json: dict[str, Any]


class _Spec(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    name: str
    input_schema: _Schema
    description: str | None = None
    strict: bool | None = None


class _Tool(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    tool_spec: _Spec | None = None
    cache_point: dict[str, str] | None = None


class _ToolConfig(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    tools: list[_Tool]
    tool_choice: dict[str, dict[str, str]] | None = None


class ConverseRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """Every field of the reference that the gateway could want; any other is refused."""

    messages: list[dict[str, Any]]
    system: list[dict[str, Any]] = []
    inference_config: _Inference = _Inference()
    tool_config: _ToolConfig | None = None
    additional_model_request_fields: dict[str, Any] = {}
    output_config: dict[str, Any] | None = None


class TranslatedRequest(ChatRequest, kw_only=True):
    """The same request in the terms in which the simulator composes answers."""

    thinks: bool = False

    @override
    def thinking_wanted(self) -> bool:
        """Whether the answer begins with thinking."""
        return self.thinks


_decode = msgspec.json.Decoder(ConverseRequest).decode


def base_model(model_id: str) -> str:
    """The model behind an id, which is one of a profile where the model needs it; RequestRefused."""
    prefix, _, rest = model_id.partition(".")
    base = rest if prefix in _PROFILES else model_id
    if _MODEL.fullmatch(base) is None:
        raise _invalid("The provided model identifier is invalid.")
    if base == model_id and base.startswith(_NEED_A_PROFILE):
        raise _invalid(
            f"Invocation of model ID {model_id} with on-demand throughput isn"
            "\N{RIGHT SINGLE QUOTATION MARK}t supported. Retry your request with the ID or ARN of an "
            "inference profile that contains this model."
        )
    return base


def decode(body: bytes, model: str, *, streamed: bool) -> TranslatedRequest:
    """Read a body for a base model; raises RequestRefused with Bedrock's message."""
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise _invalid(f"The format of the request is invalid: {problem}") from problem
    check_system(request.system)
    check_messages(request.messages, model)
    inference = request.inference_config
    if inference.max_tokens is not None and not 1 <= inference.max_tokens <= OUTPUT_TOKENS_MAX:
        raise _invalid(
            f"The maximum tokens you requested exceeds the model limit of {OUTPUT_TOKENS_MAX}."
        )
    for value in (inference.temperature, inference.top_p):
        if value is not None and not 0 <= value <= 1:
            raise _invalid("Value at 'inferenceConfig' failed to satisfy constraint: at most 1")
    if any(not stop.strip() for stop in inference.stop_sequences):
        raise _invalid("stop_sequences: each stop sequence must contain non-whitespace")
    _check_tools(request, model)
    _check_additional(request, model)
    return _translated(request, model, streamed=streamed)


def _invalid(message: str) -> RequestRefused:
    return RequestRefused(Cause.INVALID_VALUE, message)


def _check_tools(request: ConverseRequest, model: str) -> None:
    used = any("toolUse" in each or "toolResult" in each for each in _content(request.messages))
    config = request.tool_config
    if config is None:
        if used:
            raise _invalid(
                "The toolConfig field must be defined when using toolUse and toolResult content blocks."
            )
        return
    specs = [tool.tool_spec for tool in config.tools if tool.tool_spec is not None]
    if not specs:
        raise _invalid("The provided request is not valid: toolConfig.tools must not be empty")
    for spec in specs:
        _check_spec(spec)
    _check_choice(config.tool_choice, model)


def _check_spec(spec: _Spec) -> None:
    if _TOOL_NAME.fullmatch(spec.name) is None:
        raise _invalid(
            f"Value '{spec.name}' at 'toolConfig.tools.member.toolSpec.name' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"
        )
    if spec.input_schema.json.get("type") != "object":
        raise _invalid(
            "The value at toolConfig.tools.0.toolSpec.inputSchema.json.type must be object."
        )
    if spec.description == "":
        raise _invalid("'toolSpec.description' failed to satisfy constraint: length at least 1")


def _check_choice(choice: dict[str, dict[str, str]] | None, model: str) -> None:
    if choice is None:
        return
    if len(choice) != 1 or choice.keys() > {"auto", "any", "tool"}:
        raise _invalid("toolChoice: Must have exactly one of auto, any, tool")
    if model.startswith("meta.") and "auto" not in choice:
        raise _invalid("This model doesn't support the toolConfig.toolChoice field.")


def _check_additional(request: ConverseRequest, model: str) -> None:
    given = request.additional_model_request_fields
    allowed = {"reasoning_effort", "inferenceConfig", "reasoningConfig"}
    if model.startswith("anthropic."):
        allowed = set(_CLAUDE_FIELDS)
    if extra := sorted(given.keys() - allowed):
        raise _invalid(
            f"The model returned the following errors: {extra[0]}: Extra inputs are not permitted"
        )
    thinking = given.get("thinking", {})
    budget = thinking.get("budget_tokens")
    limit = request.inference_config.max_tokens
    if budget is not None and (limit is None or limit <= budget):
        raise _invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    sampled = (request.inference_config.temperature, request.inference_config.top_p)
    if thinking.get("type") in {"enabled", "adaptive"} and any(
        each is not None for each in sampled
    ):
        raise _invalid("`temperature` may only be set to 1 when thinking is enabled.")
    form = request.output_config
    if form is not None:
        _check_form(form, model)


def _check_form(form: dict[str, Any], model: str) -> None:
    if model.startswith(("amazon.", "meta.")):
        raise _invalid("This model doesn't support the outputConfig.textFormat field.")
    match form:
        case {
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"schema": str(), **rest}},
            }
        } if rest.keys() <= {"name", "description"}:
            pass
        case _:
            raise _invalid("outputConfig.textFormat: the structure is invalid")
    schema = _schema(form)
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise _invalid("For 'object' type, 'additionalProperties' must be explicitly set to false")


def _schema(form: dict[str, Any]) -> dict[str, Any]:
    text = form["textFormat"]["structure"]["jsonSchema"]["schema"]
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise _invalid("outputConfig.textFormat: the schema is no JSON") from problem


def _content(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [block for message in messages for block in message["content"]]


def _as_chat(role: str, content: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A message as the simulator's arithmetic reads it."""
    return {
        "role": role,
        "content": [
            {"type": "text", "text": block["text"]} if "text" in block else {"type": min(block)}
            for block in content
        ],
    }


def _choice(config: _ToolConfig | None) -> Any:
    match None if config is None else config.tool_choice:
        case {"any": _}:
            return "required"
        case {"tool": {"name": name}}:
            return {"function": {"name": name}}
        case _:
            return None


def _translated(request: ConverseRequest, model: str, *, streamed: bool) -> TranslatedRequest:
    given = request.additional_model_request_fields
    messages = [_as_chat(each["role"], each["content"]) for each in request.messages]
    if request.system:
        messages.insert(0, _as_chat("system", request.system))
    asked = [] if request.tool_config is None else request.tool_config.tools
    specs = [tool.tool_spec for tool in asked if tool.tool_spec is not None]
    is_refused = any("without calling a tool" in str(each.get("text")) for each in request.system)
    form: Any = None
    if request.output_config is not None:
        form = {
            "type": "json_schema",
            "json_schema": {"schema": _schema(request.output_config)},
        }
    return TranslatedRequest(
        messages=messages,
        model=model,
        stream=streamed,
        max_tokens=request.inference_config.max_tokens,
        tools=[
            {"function": {"name": spec.name, "parameters": spec.input_schema.json}}
            for spec in specs
        ]
        or None,
        tool_choice="none" if is_refused else _choice(request.tool_config),
        parallel_tool_calls=not given.get("tool_choice", {}).get("disable_parallel_tool_use"),
        stop=request.inference_config.stop_sequences,
        temperature=request.inference_config.temperature,
        top_p=request.inference_config.top_p,
        response_format=form,
        thinks=given.get("thinking", {}).get("type") in {"enabled", "adaptive"},
    )
