"""Effort and budget of reasoning, each worked out from the other as OpenRouter's guide says.

Source: openrouter.ai/docs/guides/best-practices/reasoning-tokens (November 2026).
"""

from typing import Final

from services.dispatcher.domain.conversation import Effort, Reasoning

BUDGET_TOKENS_MIN: Final = 1024
BUDGET_TOKENS_MAX: Final = 128_000

_PERCENT: Final[dict[Effort, int]] = {
    "none": 0,
    "minimal": 10,
    "low": 20,
    "medium": 50,
    "high": 80,
    "xhigh": 95,
    "max": 95,
}


def budget_tokens(reasoning: Reasoning, max_tokens: int) -> int | None:
    """The tokens to think with, less than `max_tokens`, which bounds thoughts and answer together.

    None when nothing is left for an answer beside the least that can be thought with.
    """
    wanted = reasoning.max_tokens
    if wanted is None:
        wanted = min(max_tokens * _PERCENT[reasoning.effort or "medium"] // 100, BUDGET_TOKENS_MAX)
    budget = max(BUDGET_TOKENS_MIN, min(wanted, max_tokens - 1))
    return budget if budget < max_tokens else None


def effort_of(reasoning: Reasoning, max_tokens: int) -> Effort:
    """The effort asked for; for a budget, the least whose share of `max_tokens` covers it."""
    if reasoning.max_tokens is None:
        return reasoning.effort or "medium"
    efforts: tuple[Effort, ...] = ("low", "medium", "high")
    for effort in efforts:
        if reasoning.max_tokens * 100 <= max_tokens * _PERCENT[effort]:
            return effort
    return "xhigh"
