"""How long Claude may answer, how much it thinks, how its words are drawn: by the model's rules.

Thinking and a forced tool, or thinking and a chosen temperature, exclude one another; a tool that must
be called wins over thinking, and thinking over sampling.
"""

from dataclasses import dataclass
from typing import Final

from services.dispatcher.domain.conversation import Conversation, Effort, NamedTool
from services.dispatcher.domain.thinking import budget_tokens, effort_of
from services.dispatcher.outbound.providers.anthropic.content_blocks import Block
from services.dispatcher.outbound.providers.anthropic.models import Claude

_TEMPERATURE_MAX: Final = 1.0
SAMPLING: Final = frozenset({"temperature", "top_k", "top_p"})
_REASONING: Final = frozenset({"include_reasoning", "reasoning", "reasoning_effort"})
_VERBOSITY: Final[dict[str, Effort]] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """The fields of the body, and the client's parameters that are in them."""

    body: Block
    taken: frozenset[str]


def steering(conversation: Conversation, model: Claude, output_tokens_max: int) -> Steering:
    """`max_tokens` is required, so without the client's own it is the endpoint's limit."""
    limit = min(conversation.max_tokens or output_tokens_max, output_tokens_max)
    body: Block = {"max_tokens": limit}
    taken: set[str] = set()
    thinking = _thinking(conversation, model, limit)
    if thinking is not None:
        body["thinking"] = thinking
    thinks = thinking is not None and thinking["type"] != "disabled"
    effort = _effort(conversation, model, limit, thinks=thinks)
    if effort is not None:
        body["output_config"] = {"effort": effort}
    if conversation.reasoning.is_wanted is None or _is_heeded(conversation, model, thinking):
        taken |= _REASONING
    if model.efforts and _VERBOSITY.get(conversation.verbosity or ""):
        taken.add("verbosity")
    if not thinks:
        sampling = _sampling(conversation, model)
        body |= sampling
        taken |= sampling.keys()
    return Steering(body=body, taken=frozenset(taken))


def _thinking(conversation: Conversation, model: Claude, limit: int) -> Block | None:
    reasoning = conversation.reasoning
    if reasoning.is_wanted is False:
        return {"type": "disabled"} if model.is_told_not_to_think else None
    if not reasoning.is_wanted or model.thinking == "none" or _is_forced(conversation, model):
        return None
    by_budget = model.thinking == "budget" or (
        model.thinking == "either" and reasoning.max_tokens is not None
    )
    if by_budget:
        budget = budget_tokens(reasoning, limit)
        return None if budget is None else {"type": "enabled", "budget_tokens": budget}
    # Newer models keep what they thought to themselves unless a summary is asked for.
    return {"type": "adaptive", "display": "omitted" if reasoning.exclude else "summarized"}


def _is_heeded(conversation: Conversation, model: Claude, thinking: Block | None) -> bool:
    if conversation.reasoning.is_wanted:
        return thinking is not None
    return not model.always_thinks


def _effort(
    conversation: Conversation, model: Claude, limit: int, *, thinks: bool
) -> Effort | None:
    reasoning = conversation.reasoning
    wanted = _VERBOSITY.get(conversation.verbosity or "")
    if thinks and model.thinking in {"either", "adaptive"}:
        told = reasoning.effort is not None or reasoning.max_tokens is not None
        wanted = effort_of(reasoning, limit) if told or wanted is None else wanted
        if model.thinking == "either" and reasoning.max_tokens is not None:
            return None  # the budget says it
    if wanted is None:
        return None
    effort = model.effort(wanted)
    stops_thinking = reasoning.is_wanted is False and model.is_told_not_to_think
    return "high" if stops_thinking and effort in {"xhigh", "max"} else effort


def _is_forced(conversation: Conversation, model: Claude) -> bool:
    choice = conversation.tool_choice
    is_forced = choice == "required" or isinstance(choice, NamedTool)
    return bool(conversation.tools) and is_forced and model.can_be_forced


def _sampling(conversation: Conversation, model: Claude) -> Block:
    wanted = conversation.sampling
    sampling: Block = {}
    if model.samples == "none":
        return sampling
    if wanted.temperature is not None:
        sampling["temperature"] = min(wanted.temperature, _TEMPERATURE_MAX)
    if wanted.top_p is not None and (model.samples == "all" or not sampling):
        sampling["top_p"] = wanted.top_p
    if wanted.top_k:
        sampling["top_k"] = wanted.top_k
    return sampling
