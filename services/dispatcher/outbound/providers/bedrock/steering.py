"""How long a model may answer, how much it thinks and how its words are drawn, by its family's rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.dispatcher.domain.conversation import Conversation
from services.dispatcher.domain.thinking import effort_of
from services.dispatcher.outbound.providers.anthropic.betas import INTERLEAVED_THINKING
from services.dispatcher.outbound.providers.anthropic.models import Claude
from services.dispatcher.outbound.providers.anthropic.steering import steering
from services.dispatcher.outbound.providers.bedrock.content_blocks import Block
from services.dispatcher.outbound.providers.bedrock.models import Model

_TEMPERATURE_MAX: Final = 1.0
_REASONING: Final = frozenset({"include_reasoning", "reasoning", "reasoning_effort"})
_EFFORTS: Final = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_INFERENCE: Final = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP"}
_EFFORT: Final = "effort-2025-11-24"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """`inferenceConfig`, `additionalModelRequestFields`, and the client's parameters in them."""

    inference: Block
    additional: Block
    taken: frozenset[str]


def steer(conversation: Conversation, model: Model, output_tokens_max: int) -> Steered:
    """What the model is told."""
    if model.claude is not None:
        return _steer_claude(conversation, model.claude, output_tokens_max)
    wanted = conversation.sampling
    inference: Block = {}
    additional: Block = {}
    taken: set[str] = set()
    if conversation.max_tokens is not None:
        inference["maxTokens"] = min(conversation.max_tokens, output_tokens_max)
    if wanted.temperature is not None:
        inference["temperature"] = min(wanted.temperature, _TEMPERATURE_MAX)
        taken.add("temperature")
    if wanted.top_p is not None:
        inference["topP"] = wanted.top_p
        taken.add("top_p")
    if wanted.top_k and model.is_nova:
        additional["inferenceConfig"] = {"topK": wanted.top_k}
        taken.add("top_k")
    effort = _effort(conversation, output_tokens_max)
    if model.takes_effort or model.thinks_by_config:
        taken |= _REASONING
    if effort is not None and model.takes_effort:
        additional["reasoning_effort"] = effort
    if effort is not None and model.thinks_by_config:
        additional["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}
        if effort == "high":  # which Nova takes without any limit or sampling only
            inference, taken = {}, taken - {"temperature", "top_p"}
    return Steered(inference=inference, additional=additional, taken=frozenset(taken))


def _effort(conversation: Conversation, output_tokens_max: int) -> str | None:
    reasoning = conversation.reasoning
    if not reasoning.is_wanted:
        return None
    limit = min(conversation.max_tokens or output_tokens_max, output_tokens_max)
    return _EFFORTS.get(effort_of(reasoning, limit))


def _steer_claude(conversation: Conversation, claude: Claude, output_tokens_max: int) -> Steered:
    steered = steering(conversation, claude, output_tokens_max)
    body = steered.body
    inference = {name: body.pop(old) for old, name in _INFERENCE.items() if old in body}
    return Steered(inference=inference, additional=body, taken=steered.taken)


def betas_needed(conversation: Conversation, claude: Claude, additional: Block) -> Iterator[str]:
    """The beta features that `additional` makes use of."""
    thinks_by_budget = additional.get("thinking", {}).get("type") == "enabled"
    if thinks_by_budget and conversation.tools and claude.version >= (4, 0):
        yield INTERLEAVED_THINKING
    if "output_config" in additional and claude.version == (4, 5):
        yield _EFFORT
