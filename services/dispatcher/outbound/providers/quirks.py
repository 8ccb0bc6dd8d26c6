"""How providers that speak OpenAI's chat completions differ from one another, as data.

Sources: the providers' API references, and what their servers answered to people (autumn 2026).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

OPENAI_ARGUMENTS: Final = frozenset(
    {
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "messages",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
"""Arguments of OpenAI's reference that a chat request may carry on.

Not `metadata` and `store`: OpenAI refuses the first without the second, and OpenRouter's `metadata`
is meant for the gateway. Not `audio` and `modalities`: replies carry text.
"""

OPENAI_MESSAGE_FIELDS: Final = frozenset(
    {"content", "function_call", "name", "refusal", "role", "tool_call_id", "tool_calls"}
)
"""Fields of a message; others (`reasoning_details`, `images`, ...) come from answers sent back."""

REASONING_MODELS: Final = re.compile(r"(?:gpt-[5-9]|o\d)(?:$|[-.])")
"""OpenAI's models that refuse `max_tokens` and want `max_completion_tokens`."""
FIXED_SAMPLING_MODELS: Final = re.compile(r"(?:o\d|gpt-5(?!\.|-chat)|gpt-[6-9])(?:$|[-.])")
"""OpenAI's models that refuse any temperature, penalty or log probability but the default."""
OPENAI_EFFORT_MODELS: Final = re.compile(r"(?:gpt-5(?!-chat)|gpt-[6-9]|o\d)(?:$|[-.])")
ANY_MODEL: Final = re.compile("")
NO_MODEL: Final = re.compile("(?!)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What a provider takes and how it counts; the defaults are OpenAI's own ways.

    `arguments` are those that it knows, others are left out; `renamed` says what it calls some of
    them. `usage_on_request` is whether `stream_options.include_usage` has to be sent to learn of
    usage. `completion_limit_models` want `max_completion_tokens`, all others `max_tokens`.
    `effort_models` take `reasoning_effort`, up to `highest_effort`. `fixed_sampling_models` refuse sampling arguments.
    `reasoning_counted_apart` is whether completion tokens leave reasoning tokens out.
    """

    arguments: frozenset[str] = OPENAI_ARGUMENTS
    message_fields: frozenset[str] = OPENAI_MESSAGE_FIELDS
    renamed: Mapping[str, str] = field(default_factory=dict)
    knows_developer_role: bool = False
    usage_on_request: bool = True
    completion_limit_models: re.Pattern[str] = NO_MODEL
    effort_models: re.Pattern[str] = NO_MODEL
    highest_effort: str = "xhigh"
    fixed_sampling_models: re.Pattern[str] = NO_MODEL
    reasoning_counted_apart: bool = False


OPENAI: Final = Quirks(
    knows_developer_role=True,
    completion_limit_models=REASONING_MODELS,
    effort_models=OPENAI_EFFORT_MODELS,
    fixed_sampling_models=FIXED_SAMPLING_MODELS,
)
"""OpenAI itself, and the same models on Azure."""

_OPENAIS_ALONE: Final = frozenset(
    {
        "prediction",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "verbosity",
        "web_search_options",
    }
)
_COMMON: Final = OPENAI_ARGUMENTS - _OPENAIS_ALONE
_LEGACY_FUNCTIONS: Final = frozenset({"function_call", "functions"})
_LOG_PROBABILITIES: Final = frozenset({"logit_bias", "logprobs", "top_logprobs"})
_MORE_SAMPLING: Final = frozenset({"min_p", "repetition_penalty", "top_k"})

MISTRAL: Final = Quirks(
    # Answers 422 extra_forbidden to anything that it does not know, `stream_options` among it; a
    # stream ends with usage anyway.
    arguments=(_COMMON - _LEGACY_FUNCTIONS - _LOG_PROBABILITIES - {"reasoning_effort", "user"})
    | {"prediction"},
    message_fields=frozenset({"content", "role", "tool_call_id", "tool_calls"}),
    renamed={"seed": "random_seed"},
    usage_on_request=False,
)
DEEPSEEK: Final = Quirks(
    arguments=_COMMON - _LEGACY_FUNCTIONS - {"logit_bias", "n", "seed", "user"}
)
GROQ: Final = Quirks(
    # Answers 400 to log probabilities, to more than one choice, and to what it does not know.
    arguments=_COMMON - _LOG_PROBABILITIES - {"n"},
    effort_models=re.compile(r"(?:gpt-oss|qwen3)(?:$|[-.])"),
    highest_effort="high",
)
OPEN_MODELS: Final = Quirks(
    # Hosts of open models: OpenAI's arguments and the samplers of the inference engines.
    arguments=_COMMON | _MORE_SAMPLING,
    effort_models=re.compile(r"gpt-oss(?:$|[-.])"),
    highest_effort="high",
)
XAI: Final = Quirks(
    arguments=_COMMON,
    knows_developer_role=True,
    effort_models=re.compile(r"grok-(?:3-mini|4\.[3-9])(?:$|[-.])"),
    highest_effort="high",
    reasoning_counted_apart=True,
)
GOOGLE_AI_STUDIO: Final = Quirks(
    # Answers 400 INVALID_ARGUMENT to names that it does not know (`seed`, `logit_bias`) and, at the
    # models of today, to penalties.
    arguments=frozenset(
        {
            "messages",
            "n",
            "reasoning_effort",
            "response_format",
            "stop",
            "temperature",
            "tool_choice",
            "tools",
            "top_p",
        }
    ),
    effort_models=re.compile(r"gemini-(?:2\.5|[3-9])(?:$|[-.])"),
    highest_effort="high",
)
COHERE: Final = Quirks(
    # Its page on compatibility names `logit_bias`, `n`, `parallel_tool_calls`, `prediction`,
    # `service_tier` and `top_logprobs` as what it does not take; other names get a 422.
    arguments=frozenset(
        {
            "frequency_penalty",
            "logprobs",
            "messages",
            "presence_penalty",
            "reasoning_effort",
            "response_format",
            "seed",
            "stop",
            "temperature",
            "tool_choice",
            "tools",
            "top_p",
        }
    ),
    effort_models=re.compile(r"command-a-(?:reasoning|plus)(?:$|[-.])"),
    highest_effort="high",
)
OPENROUTER: Final = Quirks(
    arguments=OPENAI_ARGUMENTS | _MORE_SAMPLING | {"reasoning", "top_a"},
    message_fields=OPENAI_MESSAGE_FIELDS | {"reasoning", "reasoning_details"},
    knows_developer_role=True,
    effort_models=ANY_MODEL,
)
VERTEX_PARTNERS: Final = Quirks(
    # Open models as a service on Vertex AI, behind its OpenAI-compatible endpoint.
    arguments=_COMMON - _LEGACY_FUNCTIONS - {"user"},
    effort_models=re.compile(r"gpt-oss(?:$|[-.])"),
    highest_effort="high",
)
AZURE_OTHERS: Final = Quirks(
    # Models on Azure that are not OpenAI's: the arguments of its model inference API.
    arguments=frozenset(
        {
            "frequency_penalty",
            "messages",
            "presence_penalty",
            "response_format",
            "seed",
            "stop",
            "temperature",
            "tool_choice",
            "tools",
            "top_p",
        }
    ),
)
