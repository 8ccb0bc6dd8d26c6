"""Writing a request of Gemini's generateContent.

Reference: docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference (November 2026).
"""

from dataclasses import dataclass
from typing import Any, Final, assert_never

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.conversation import (
    Conversation,
    JsonSchema,
    NamedTool,
    Refused,
    Tool,
)
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.read_conversation import read_conversation
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.domain.thinking import budget_tokens, effort_of
from services.dispatcher.domain.turns import in_turns
from services.dispatcher.outbound.providers.vertex.gemini_contents import WirePart, contents
from services.dispatcher.outbound.providers.vertex.gemini_models import Gemini, gemini

STOPS_MAX: Final = 5
CANDIDATES_MAX: Final = 8
LOG_PROBABILITIES_MAX: Final = 20
_SEED_MAX: Final = 2**31 - 1
_JSON: Final = "application/json"
_ALWAYS_TAKEN: Final = frozenset(
    {
        "n",
        "response_format",
        "seed",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
_REASONING: Final = frozenset({"include_reasoning", "reasoning", "reasoning_effort"})
_PENALTIES: Final = frozenset({"frequency_penalty", "presence_penalty"})
_LOG_PROBABILITIES: Final = frozenset({"logprobs", "top_logprobs"})

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiRequest:
    """The body, and whether thoughts are kept out of the answer."""

    body: WirePart
    excludes_reasoning: bool


def write_gemini(attempt: Attempt, request: ChatRequest) -> GeminiRequest | ProviderFailure:
    """The request, or why it cannot be made; the same whether it is streamed or not."""
    conversation = read_conversation(request)
    if isinstance(conversation, Refused):
        return conversation.as_bad_input()
    model = gemini(attempt.endpoint.provider_model)
    failure = conversation.left_out(_taken(conversation, model))
    if failure is not None:
        return failure
    found = in_turns(conversation.messages)
    said = contents(found.turns, model)
    if isinstance(said, Refused):
        return said.at_provider()
    body: WirePart = {"contents": said}
    if found.system:
        body["systemInstruction"] = {"parts": [{"text": text.text} for text in found.system]}
    if conversation.tools:
        body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in conversation.tools]}]
        config = _tool_config(conversation)
        if config is not None:
            body["toolConfig"] = {"functionCallingConfig": config}
    generation = _generation(conversation, model, attempt.endpoint.output_tokens_max)
    if generation:
        body["generationConfig"] = generation
    return GeminiRequest(body=body, excludes_reasoning=conversation.reasoning.exclude)


def _taken(conversation: Conversation, model: Gemini) -> frozenset[str]:
    taken = set(_ALWAYS_TAKEN)
    if not _takes_form(conversation, model):
        taken.discard("response_format")
    if conversation.reasoning.is_wanted:
        taken |= _REASONING if model.thinking != "none" else set()
    elif conversation.reasoning.is_wanted is None or model.stops_thinking:
        taken |= _REASONING
    taken |= _PENALTIES if model.penalises else set()
    taken |= _LOG_PROBABILITIES if model.tells_log_probabilities else set()
    if conversation.parallel_tool_calls:
        taken.add("parallel_tool_calls")  # it may call several anyhow, and cannot be kept from it
    return frozenset(taken)


def _tool(tool: Tool) -> WirePart:
    told: WirePart = {"name": tool.name}
    if tool.description:
        told["description"] = tool.description
    if tool.parameters is not None:
        told["parametersJsonSchema"] = {"type": "object"} | _decode_object(tool.parameters)
    return told


def _tool_config(conversation: Conversation) -> WirePart | None:
    choice = conversation.tool_choice
    match choice:
        case None:
            return None
        case "none" | "auto":
            return {"mode": choice.upper()}
        case "required":
            return {"mode": "ANY"}
        case NamedTool():
            return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
        case _:
            assert_never(choice)


def _generation(conversation: Conversation, model: Gemini, output_tokens_max: int) -> WirePart:
    limit = min(conversation.max_tokens or output_tokens_max, output_tokens_max)
    config = _sampling(conversation, model)
    if conversation.max_tokens is not None:
        config["maxOutputTokens"] = limit
    if conversation.stop:
        config["stopSequences"] = list(conversation.stop[:STOPS_MAX])
    if conversation.choices_wanted > 1:
        config["candidateCount"] = min(conversation.choices_wanted, CANDIDATES_MAX)
    if conversation.answer_format != "text" and _takes_form(conversation, model):
        config["responseMimeType"] = _JSON
        if isinstance(conversation.answer_format, JsonSchema):
            config["responseJsonSchema"] = _decode_object(conversation.answer_format.schema)
    thinking = _thinking(conversation, model, limit)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    return config


def _takes_form(conversation: Conversation, model: Gemini) -> bool:
    return model.calls_tools_in_a_form or not conversation.tools


def _sampling(conversation: Conversation, model: Gemini) -> WirePart:
    wanted = conversation.sampling
    seed = wanted.seed
    told: WirePart = {
        "temperature": wanted.temperature,
        "topP": wanted.top_p,
        "topK": wanted.top_k or None,
        "seed": seed if seed is not None and abs(seed) <= _SEED_MAX else None,
    }
    if model.penalises:
        told["frequencyPenalty"] = wanted.frequency_penalty
        told["presencePenalty"] = wanted.presence_penalty
    if model.tells_log_probabilities and wanted.logprobs:
        told["responseLogprobs"] = True
        if wanted.top_logprobs:
            told["logprobs"] = min(wanted.top_logprobs, LOG_PROBABILITIES_MAX)
    return {name: value for name, value in told.items() if value is not None}


def _thinking(conversation: Conversation, model: Gemini, limit: int) -> WirePart | None:
    """How much to think: a budget for 2.5, a level since 3, which refuse each other's."""
    reasoning = conversation.reasoning
    if reasoning.is_wanted is None or model.thinking == "none":
        return None
    shows = bool(reasoning.is_wanted) and not reasoning.exclude
    if model.thinking == "level":
        effort = effort_of(reasoning, limit) if reasoning.is_wanted else "none"
        return {"thinkingLevel": model.level(effort), "includeThoughts": shows}
    least, most = model.budgets
    if not reasoning.is_wanted:
        budget = 0 if model.stops_thinking else least
    else:
        budget = max(least, min(budget_tokens(reasoning, limit) or least, most))
    return {"thinkingBudget": budget, "includeThoughts": shows}
