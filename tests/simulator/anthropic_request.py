"""The body of a Messages request, read as strictly as Anthropic reads it.

Unknown fields, blocks of unknown types and what the model does not take are 400s; texts follow what
the API answers (its reference and public reports, autumn 2026).
"""

import re
from typing import Any, Final

import msgspec
from typing_extensions import override

from tests.simulator.anthropic_messages import check_messages, check_system
from tests.simulator.anthropic_models import MODELS, ModelRules
from tests.simulator.chat_request import ChatRequest
from tests.simulator.errors import Cause, RequestRefused

BUDGET_TOKENS_MIN: Final = 1024
NO_SAMPLING_SINCE: Final = "2026-10-21"
OUTPUT_TOKENS_MAX: Final = 128_000
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_FORCING: Final = frozenset({"any", "tool"})
_CHOICES: Final = frozenset({"auto", "none"}) | _FORCING


class _Thinking(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _OutputConfig(msgspec.Struct, forbid_unknown_fields=True):
    effort: str | None = None
    format: dict[str, Any] | None = None


class _ToolChoice(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Tool(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    type: str | None = None
    strict: bool | None = None
    cache_control: dict[str, Any] | None = None


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    user_id: str | None = None


class MessagesRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Every field of the reference that the gateway could want; any other is refused."""

    model: str
    max_tokens: int
    messages: list[dict[str, Any]]
    system: str | list[dict[str, Any]] | None = None
    stream: bool = False
    stop_sequences: list[str] = []
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    tools: list[_Tool] = []
    tool_choice: _ToolChoice | None = None
    metadata: _Metadata | None = None
    service_tier: str | None = None
    cache_control: dict[str, Any] | None = None


class TranslatedRequest(ChatRequest, kw_only=True):
    """The same request in the terms in which the simulator composes answers."""

    thinks: bool = False
    top_k: int | None = None

    @override
    def thinking_wanted(self) -> bool:
        """Whether the answer begins with a block of thinking."""
        return self.thinks


_decode = msgspec.json.Decoder(MessagesRequest).decode
_KNOWN: Final = frozenset(MessagesRequest.__struct_fields__)


def decode(body: bytes) -> TranslatedRequest:
    """Read a body; raises RequestRefused with Anthropic's message."""
    try:
        request = _decode(body)
    except msgspec.ValidationError as problem:
        raise _explained(body, problem) from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise RequestRefused(
            Cause.BAD_JSON, "The request body is not valid JSON: invalid character"
        ) from problem
    check_system(request.system)
    check_messages(request.messages)
    rules = MODELS.get(request.model)
    if rules is not None:
        _check_for_model(request, rules)
    _check_tools(request)
    if any(not stop.strip() for stop in request.stop_sequences):
        raise _invalid("stop_sequences: each stop sequence must contain non-whitespace")
    return _translated(request)


def refuse_for_version(request: TranslatedRequest, version: str) -> None:
    """Raise RequestRefused for what this version of the API does not take, even if it is a default."""
    if version < NO_SAMPLING_SINCE:
        return
    for name in ("temperature", "top_p", "top_k"):
        if getattr(request, name) is not None:
            raise _invalid(f"{name}: Extra inputs are not permitted")


def _explained(body: bytes, problem: msgspec.ValidationError) -> RequestRefused:
    content = msgspec.json.decode(body)
    if isinstance(content, dict):
        unknown = sorted(content.keys() - _KNOWN)
        if unknown:
            return _invalid(f"{unknown[0]}: Extra inputs are not permitted")
        for name in ("model", "max_tokens", "messages"):
            if name not in content:
                return _invalid(f"{name}: Field required")
    what, _, where = str(problem).partition(" - at `$")
    return _invalid(f"{where.rstrip('`').lstrip('.') or 'body'}: {what}")


def _invalid(message: str) -> RequestRefused:
    return RequestRefused(Cause.INVALID_VALUE, message)


def _check_for_model(request: MessagesRequest, rules: ModelRules) -> None:
    if not 1 <= request.max_tokens <= OUTPUT_TOKENS_MAX:
        raise _invalid(f"max_tokens: {request.max_tokens} is out of range for {request.model}")
    if request.messages[-1]["role"] == "assistant" and not rules.prefill:
        raise _invalid(
            "This model does not support assistant message prefill. The conversation must end with "
            "a user message."
        )
    _check_thinking(request, rules)
    _check_sampling(request, rules)
    config = request.output_config or _OutputConfig()
    if config.effort is not None and config.effort not in rules.efforts:
        raise _invalid("output_config.effort: not supported by this model")
    if config.format is not None:
        if not rules.schemas:
            raise _invalid("output_config.format: not supported by this model")
        if config.format.keys() != {"type", "schema"} or config.format["type"] != "json_schema":
            raise _invalid("output_config.format: Input should be a JSON schema format")
        _check_schema(config.format["schema"])


def _check_thinking(request: MessagesRequest, rules: ModelRules) -> None:
    thinking = request.thinking
    if thinking is None:
        return
    if thinking.type not in rules.thinking:
        raise _invalid(f'"thinking.type.{thinking.type}" is not supported for this model.')
    if (thinking.budget_tokens is not None) != (thinking.type == "enabled"):
        raise _invalid(f"thinking.{thinking.type}.budget_tokens: Field required or not permitted")
    budget = thinking.budget_tokens
    if budget is not None and budget < BUDGET_TOKENS_MIN:
        raise _invalid(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
        )
    if budget is not None and budget >= request.max_tokens:
        raise _invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if thinking.type == "disabled":
        return
    if request.temperature not in {None, 1} or request.top_k is not None:
        raise _invalid("`temperature` may only be set to 1 when thinking is enabled.")
    if request.tool_choice is not None and request.tool_choice.type in _FORCING:
        raise _invalid("Thinking may not be enabled when tool_choice forces tool use.")


def _check_sampling(request: MessagesRequest, rules: ModelRules) -> None:
    if request.temperature is not None and not 0 <= request.temperature <= 1:
        raise _invalid("temperature: range: 0..1")
    given = [
        name
        for name in ("temperature", "top_p", "top_k")
        if getattr(request, name) not in {None, 1}
    ]
    if given and not rules.samples:
        raise _invalid(f"`{given[0]}` is deprecated for this model.")
    if rules.samples == 1 and request.temperature is not None and request.top_p is not None:
        raise _invalid(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        )


def _check_schema(schema: Any) -> None:
    """Every object closed, and no limits on numbers or lengths."""
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise _invalid(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be "
            "explicitly set to false"
        )
    for name in ("minimum", "maximum", "minLength", "maxLength", "maxItems"):
        if name in schema:
            raise _invalid(
                f"output_config.format.schema: For '{schema.get('type')}' type, property '{name}' "
                "is not supported"
            )
    for inner in (schema.get("properties") or {}).values():
        _check_schema(inner)
    _check_schema(schema.get("items"))


def _check_tools(request: MessagesRequest) -> None:
    for at, tool in enumerate(request.tools):
        if _TOOL_NAME.fullmatch(tool.name) is None:
            raise _invalid(f"tools.{at}.custom.name: String should match pattern")
        if tool.input_schema.get("type") != "object":
            raise _invalid(f"tools.{at}.custom.input_schema.type: Field required")
        if tool.strict:
            _check_schema(tool.input_schema)
    choice = request.tool_choice
    if choice is None:
        return
    if choice.type not in _CHOICES or (choice.name is not None) != (choice.type == "tool"):
        raise _invalid("tool_choice: Input tag does not match any of the expected tags")
    if not request.tools:
        raise _invalid("tool_choice: may only be specified while providing `tools`")
    rules = MODELS.get(request.model)
    if choice.type in _FORCING and rules is not None and not rules.forced_tools:
        raise _invalid("tool_choice: forced tool use is not supported for this model")


def _as_chat(choice: _ToolChoice) -> Any:
    match choice.type:
        case "none":
            return "none"
        case "any":
            return "required"
        case "tool":
            return {"function": {"name": choice.name}}
        case _:
            return None


def _translated(request: MessagesRequest) -> TranslatedRequest:
    system = [] if request.system is None else [{"role": "system", "content": request.system}]
    choice = request.tool_choice or _ToolChoice(type="auto")
    config = request.output_config or _OutputConfig()
    form: Any = None
    if config.format is not None:
        form = {"type": "json_schema", "json_schema": {"schema": config.format["schema"]}}
    return TranslatedRequest(
        messages=[*system, *request.messages],
        model=request.model,
        stream=request.stream,
        max_tokens=request.max_tokens,
        tools=[
            {"function": {"name": tool.name, "parameters": tool.input_schema}}
            for tool in request.tools
        ]
        or None,
        tool_choice=_as_chat(choice),
        parallel_tool_calls=not choice.disable_parallel_tool_use,
        stop=request.stop_sequences,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        response_format=form,
        thinks=request.thinking is not None and request.thinking.type != "disabled",
    )
