"""How providers that speak OpenAI's chat completions differ from one another, as data.

Sources: the providers' API references, and what their servers answered to people (autumn 2026).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.dispatcher.domain.conversation import Effort
from services.dispatcher.outbound.providers.efforts import Efforts, always, levels

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
NO_MODEL: Final = re.compile("(?!)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What a provider takes and how it counts; the defaults are OpenAI's own ways.

    `arguments` are those that it knows, others are left out; `renamed` says what it calls some of
    them. `usage_on_request` is whether `stream_options.include_usage` has to be sent to learn of
    usage. `completion_limit_models` want `max_completion_tokens`, all others `max_tokens`.
    `efforts` are the models that can be told how much to think, the first that matches; others are told nothing of it.
    `fixed_sampling_models` refuse sampling arguments.
    `reasoning_counted_apart` is whether completion tokens leave reasoning tokens out.
    """

    arguments: frozenset[str] = OPENAI_ARGUMENTS
    message_fields: frozenset[str] = OPENAI_MESSAGE_FIELDS
    renamed: Mapping[str, str] = field(default_factory=dict)
    knows_developer_role: bool = False
    usage_on_request: bool = True
    completion_limit_models: re.Pattern[str] = NO_MODEL
    efforts: tuple[Efforts, ...] = ()
    fixed_sampling_models: re.Pattern[str] = NO_MODEL
    reasoning_counted_apart: bool = False

    def efforts_of(self, names: tuple[str, ...]) -> Efforts | None:
        """What the model of these names takes."""
        for efforts in self.efforts:
            if any(efforts.models.match(name) is not None for name in names):
                return efforts
        return None


def _efforts(models: str, *known: Effort) -> Efforts:
    return Efforts(models=_named(models), words=levels(*known))


def _thinks_or_not(models: str, word: str) -> Efforts:
    return Efforts(models=_named(models), words=always(word))


def _named(models: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{models})(?:$|[-.])", re.IGNORECASE)


_GPT_OSS: Final = _efforts("gpt-oss", "low", "medium", "high")

OPENAI: Final = Quirks(
    knows_developer_role=True,
    completion_limit_models=REASONING_MODELS,
    # developers.openai.com, guide on reasoning: who knows `none` thinks only when told to.
    efforts=(
        _efforts(r"gpt-5-pro", "high"),
        _efforts(r"gpt-5(?!\.|-chat)", "minimal", "low", "medium", "high"),
        _efforts(r"gpt-5\.1-codex-max", "none", "low", "medium", "high", "xhigh"),
        _efforts(r"gpt-5\.1", "none", "low", "medium", "high"),
        _efforts(r"gpt-5\.\d+|gpt-[6-9](?:\.\d+)?", "none", "low", "medium", "high", "xhigh"),
        _efforts(r"o\d", "low", "medium", "high"),
    ),
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
    arguments=(_COMMON - _LEGACY_FUNCTIONS - _LOG_PROBABILITIES - {"user"}) | {"prediction"},
    message_fields=frozenset({"content", "role", "tool_call_id", "tool_calls"}),
    renamed={"seed": "random_seed"},
    usage_on_request=False,
    # docs.mistral.ai/capabilities/reasoning/adjustable
    efforts=(_thinks_or_not("mistral-(?:small-(?:latest|2603)|medium-(?:3-5|2604))", "high"),),
)
DEEPSEEK: Final = Quirks(
    arguments=_COMMON - _LEGACY_FUNCTIONS - {"logit_bias", "n", "seed", "user"},
    # api-docs.deepseek.com/guides/thinking_mode, its own table: medium is high
    efforts=(
        Efforts(
            models=_named("deepseek-(?:v4|flash|pro)"),
            words={**levels("low", "high", "max"), "medium": "high"},
            off={"thinking": {"type": "disabled"}},
        ),
    ),
)
GROQ: Final = Quirks(
    # Answers 400 to log probabilities, to more than one choice, and to what it does not know.
    arguments=_COMMON - _LOG_PROBABILITIES - {"n"},
    # console.groq.com/docs/reasoning
    efforts=(_GPT_OSS, _thinks_or_not(r"qwen3(?:\.\d)?", "default")),
)
_OPEN_MODELS: Final = _COMMON | _MORE_SAMPLING
"""Hosts of open models: OpenAI's arguments and the samplers of the inference engines."""
TOGETHER: Final = Quirks(
    arguments=_OPEN_MODELS,
    # docs.together.ai/docs/inference/chat/reasoning: hybrid models think unless told not to
    efforts=(
        _GPT_OSS,
        Efforts(
            models=_named(r"deepseek-v4|glm-5(?:\.\d)?|kimi-k2\.[56]|qwen3\.[56]"),
            off={"reasoning": {"enabled": False}},
        ),
    ),
)
FIREWORKS: Final = Quirks(
    arguments=_OPEN_MODELS,
    # docs.fireworks.ai/guides/reasoning
    efforts=(
        _GPT_OSS,
        _efforts("deepseek-v4", "none", "low", "medium", "high", "xhigh"),
        _efforts(r"glm-5(?:[.p]\d)?", "none", "high", "max"),
        _efforts(r"kimi-k2(?:[.p]\d)?", "low", "medium", "high"),
    ),
)
XAI: Final = Quirks(
    arguments=_COMMON,
    knows_developer_role=True,
    # docs.x.ai/developers/model-capabilities/text/reasoning
    efforts=(
        _efforts("grok-3-mini", "low", "high"),
        _efforts(r"grok-4\.3", "none", "low", "medium", "high"),
        _efforts(r"grok-4\.[4-9]", "low", "medium", "high"),
    ),
    reasoning_counted_apart=True,
)
GOOGLE_AI_STUDIO: Final = Quirks(
    # Answers 400 INVALID_ARGUMENT to names that it does not know (`seed`, `logit_bias`) and, at the
    # models of today, to penalties.
    arguments=frozenset(
        {
            "messages",
            "n",
            "response_format",
            "stop",
            "temperature",
            "tool_choice",
            "tools",
            "top_p",
        }
    ),
    # ai.google.dev/gemini-api/docs/openai: only Flash 2.5 can be kept from thinking
    efforts=(
        _efforts(r"gemini-2\.5-flash", "none", "minimal", "low", "medium", "high"),
        Efforts(
            models=_named(r"gemini-(?:2\.5|[3-9](?:\.\d+)?)"),
            words={**levels("minimal", "low", "medium", "high"), "none": "minimal"},
        ),
    ),
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
            "response_format",
            "seed",
            "stop",
            "temperature",
            "tool_choice",
            "tools",
            "top_p",
        }
    ),
    # the same page: none and high alone, which switch its own `thinking`
    efforts=(_thinks_or_not("command-a-(?:reasoning|plus)", "high"),),
)
OPENROUTER: Final = Quirks(
    arguments=OPENAI_ARGUMENTS
    | _MORE_SAMPLING
    | {"include_reasoning", "reasoning", "reasoning_effort", "top_a"},
    message_fields=OPENAI_MESSAGE_FIELDS | {"reasoning", "reasoning_details"},
    knows_developer_role=True,
)
VERTEX_PARTNERS: Final = Quirks(
    # Open models as a service on Vertex AI, behind its OpenAI-compatible endpoint.
    arguments=_COMMON - _LEGACY_FUNCTIONS - {"user"},
    efforts=(_GPT_OSS,),
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
