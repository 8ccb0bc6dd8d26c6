"""The body of a generateContent, read as strictly as Vertex AI reads it."""

import binascii
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from typing_extensions import override

from tests.simulator.chat_request import ChatRequest
from tests.simulator.errors import Cause, RequestRefused
from tests.simulator.gemini_models import GEMINIS, GeminiRules

SIGNATURE: Final = "c2lnbmVkIGJ5IHRoZSBzaW11bGF0b3I="
"""What every call is signed with; no other is taken back."""
FOREIGN: Final = "skip_thought_signature_validator"
STOPS_MAX: Final = 5
_MODES: Final = frozenset({"AUTO", "ANY", "NONE"})


class _Strict(
    msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True, omit_defaults=True
):
    pass


class _Blob(_Strict):
    mime_type: str
    data: str


class _FileData(_Strict):
    mime_type: str
    file_uri: str


class _FunctionCall(_Strict):
    name: str
    args: dict[str, Any] = {}


class _FunctionResponse(_Strict):
    name: str
    response: dict[str, Any]


class _Part(_Strict):
    text: str | None = None
    inline_data: _Blob | None = None
    file_data: _FileData | None = None
    function_call: _FunctionCall | None = None
    function_response: _FunctionResponse | None = None
    thought_signature: str | None = None

    @property
    def kinds(self) -> int:
        """How many of the kinds of a part are set; one is right."""
        kinds = (
            self.text,
            self.inline_data,
            self.file_data,
            self.function_call,
            self.function_response,
        )
        return len([kind for kind in kinds if kind is not None])


class _Content(_Strict):
    parts: list[_Part]
    role: str | None = None


class _Declaration(_Strict):
    name: str
    description: str | None = None
    parameters_json_schema: dict[str, Any] | None = None


class _Tool(_Strict):
    function_declarations: list[_Declaration]


class _CallingConfig(_Strict):
    mode: str = "AUTO"
    allowed_function_names: list[str] = []


class _ToolConfig(_Strict):
    function_calling_config: _CallingConfig


class _ThinkingConfig(_Strict):
    include_thoughts: bool = False
    thinking_budget: int | None = None
    thinking_level: str | None = None


class _GenerationConfig(_Strict):
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] = []
    candidate_count: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_mime_type: str | None = None
    response_json_schema: dict[str, Any] | None = None
    thinking_config: _ThinkingConfig | None = None


class _Request(_Strict):
    contents: list[_Content]
    system_instruction: _Content | None = None
    tools: list[_Tool] = []
    tool_config: _ToolConfig | None = None
    generation_config: _GenerationConfig | None = None


class GeminiRequest(ChatRequest, kw_only=True):
    """The same request in the terms in which the simulator composes answers."""

    shows_thoughts: bool = False

    @override
    def thinking_wanted(self) -> bool:
        """Whether the answer begins with a thought."""
        return self.shows_thoughts


_decode = msgspec.json.Decoder(_Request).decode


def decode(body: bytes, model: str, *, streamed: bool) -> GeminiRequest:
    """Read a body; raises RequestRefused with Vertex AI's message."""
    try:
        request = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise _invalid(f"Invalid JSON payload received. {problem}") from problem
    rules = GEMINIS.get(model, GeminiRules())
    _check_contents(request.contents, rules)
    config = request.generation_config or _GenerationConfig()
    _check_config(config, rules)
    _check_tools(request, config, rules)
    return _translated(request, config, model, streamed=streamed)


def _invalid(message: str) -> RequestRefused:
    return RequestRefused(Cause.INVALID_VALUE, message)


def _check_contents(contents: Sequence[_Content], rules: GeminiRules) -> None:
    if not contents:
        raise _invalid("Unable to submit request because at least one contents field is required.")
    open_calls = 0
    for at, content in enumerate(contents):
        if content.role not in {"user", "model"}:
            raise _invalid("Please use a valid role: user, model.")
        if at == 0 and content.role != "user":
            raise _invalid("Please ensure that a multiturn request begins with a user role.")
        if not content.parts:
            raise _invalid(
                "Unable to submit request because it must include at least one parts field"
            )
        for part in content.parts:
            _check_part(part)
        answers = len([part for part in content.parts if part.function_response is not None])
        if answers != open_calls:
            raise _invalid(
                "Please ensure that the number of function response parts is equal to the number of "
                "function call parts of the function call turn."
            )
        calls = [part for part in content.parts if part.function_call is not None]
        if calls and content.role == "user":
            raise _invalid("Please ensure that function call turns come from the model role.")
        if calls and rules.is_third and calls[0].thought_signature is None:
            raise _invalid("Function call is missing a thought_signature in functionCall parts.")
        open_calls = len(calls)


def _check_part(part: _Part) -> None:
    if part.kinds != 1:
        raise _invalid("Unable to submit request because exactly one field of data must be set.")
    if part.text == "" and part.thought_signature is None:
        raise _invalid("Unable to submit request because it must have a text parameter.")
    if part.thought_signature not in {None, SIGNATURE, FOREIGN}:
        raise _invalid("Thought signature is not valid.")
    if part.inline_data is not None:
        try:
            binascii.a2b_base64(part.inline_data.data, strict_mode=True)
        except binascii.Error:
            raise _invalid("Base64 decoding failed") from None
    if part.file_data is not None and not part.file_data.file_uri.startswith(("https://", "gs://")):
        raise _invalid("Invalid file URI")


def _check_config(config: _GenerationConfig, rules: GeminiRules) -> None:
    if config.temperature is not None and not 0 <= config.temperature <= 2:
        raise _invalid("temperature must be in the range [0.0, 2.0]")
    if config.max_output_tokens is not None and config.max_output_tokens < 1:
        raise _invalid("max_output_tokens must be positive.")
    if len(config.stop_sequences) > STOPS_MAX:
        raise _invalid("The number of stop sequences must be at most 5.")
    penalties = (config.frequency_penalty, config.presence_penalty)
    if penalties != (None, None) and not rules.penalties:
        raise _invalid("Penalty is not enabled for this model")
    if config.response_logprobs and not rules.log_probabilities:
        raise _invalid("Logprobs is not enabled for this model")
    if config.logprobs is not None and not config.response_logprobs:
        raise _invalid("logprobs may only be set with responseLogprobs")
    if config.response_json_schema is not None and config.response_mime_type != "application/json":
        raise _invalid("response_mime_type is required with response_json_schema")
    if config.thinking_config is not None:
        _check_thinking(config.thinking_config, rules)


def _check_thinking(config: _ThinkingConfig, rules: GeminiRules) -> None:
    budget, level = config.thinking_budget, config.thinking_level
    if budget is not None and level is not None:
        raise _invalid("You can only set one of thinking_budget and thinking_level.")
    if not rules.thinks:
        raise _invalid("Thinking is not supported by this model.")
    if level is not None and level not in rules.levels:
        raise _invalid("Thinking level is not supported for this model.")
    if budget is not None and budget not in {-1, *((0,) if rules.may_not_think else ())}:
        if rules.budgets is None:
            raise _invalid("Thinking budget is not supported for this model.")
        if budget not in rules.budgets:
            raise _invalid(
                f"The thinking budget {budget} is invalid. Please choose a value between "
                f"{rules.budgets.start} and {rules.budgets.stop - 1}."
            )
    if budget == 0 and config.include_thoughts:
        raise _invalid("Include_thoughts is only enabled when thinking is enabled.")


def _check_tools(request: _Request, config: _GenerationConfig, rules: GeminiRules) -> None:
    declared = [each.name for tool in request.tools for each in tool.function_declarations]
    if declared and config.response_mime_type == "application/json" and not rules.is_third:
        raise _invalid(
            "Function calling with a response mime type: 'application/json' is unsupported"
        )
    if request.tool_config is None:
        return
    calling = request.tool_config.function_calling_config
    if calling.mode not in _MODES:
        raise _invalid("Invalid value at 'tool_config.function_calling_config.mode'")
    if not declared:
        raise _invalid("Function calling config is set without function_declarations.")
    if calling.allowed_function_names and calling.mode != "ANY":
        raise _invalid("Allowed function names should be set only when the mode is ANY.")
    if not set(calling.allowed_function_names) <= set(declared):
        raise _invalid("Allowed function names must be declared.")


def _translated(
    request: _Request, config: _GenerationConfig, model: str, *, streamed: bool
) -> GeminiRequest:
    system = [] if request.system_instruction is None else [_message(request.system_instruction)]
    calling = request.tool_config and request.tool_config.function_calling_config
    tools = [
        {"function": {"name": each.name, "parameters": each.parameters_json_schema}}
        for tool in request.tools
        for each in tool.function_declarations
        if not calling
        or not calling.allowed_function_names
        or each.name in calling.allowed_function_names
    ]
    form: Any = None
    if config.response_json_schema is not None:
        form = {"type": "json_schema", "json_schema": {"schema": config.response_json_schema}}
    return GeminiRequest(
        messages=[*system, *(_message(content) for content in request.contents)],
        model=model,
        stream=streamed,
        max_tokens=config.max_output_tokens,
        tools=tools or None,
        tool_choice="none" if calling and calling.mode == "NONE" else None,
        stop=config.stop_sequences,
        response_format=form,
        shows_thoughts=config.thinking_config is not None
        and config.thinking_config.include_thoughts,
    )


def _message(content: _Content) -> dict[str, Any]:
    roles = {"user": "user", "model": "assistant", None: "system"}
    answers = [part for part in content.parts if part.function_response is not None]
    texts = [{"type": "text", "text": part.text} for part in content.parts if part.text]
    return {"role": "tool" if answers and not texts else roles[content.role], "content": texts}
