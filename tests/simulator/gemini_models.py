"""What each Gemini takes, as Vertex AI's documentation says, a row for each (November 2026)."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiRules:
    """`budgets` and `levels` are what it can be told to think with; a model has one or neither."""

    budgets: range | None = None
    may_not_think: bool = False
    levels: frozenset[str] = frozenset()
    penalties: bool = False
    log_probabilities: bool = False

    @property
    def thinks(self) -> bool:
        """Whether it thinks, and so signs what it calls."""
        return self.budgets is not None or bool(self.levels)

    @property
    def is_third(self) -> bool:
        """Whether it is of the third generation, which wants its signatures back."""
        return bool(self.levels)


_ALL = frozenset({"MINIMAL", "LOW", "MEDIUM", "HIGH"})

GEMINIS: Final = {
    "gemini-2.0-flash-001": GeminiRules(penalties=True, log_probabilities=True),
    "gemini-2.5-pro": GeminiRules(budgets=range(128, 32_769), log_probabilities=True),
    "gemini-2.5-flash": GeminiRules(
        budgets=range(1, 24_577), may_not_think=True, log_probabilities=True
    ),
    "gemini-2.5-flash-lite": GeminiRules(
        budgets=range(512, 24_577), may_not_think=True, log_probabilities=True
    ),
    "gemini-3-pro-preview": GeminiRules(levels=frozenset({"LOW", "HIGH"})),
    "gemini-3-flash-preview": GeminiRules(levels=_ALL),
    "gemini-3.1-pro-preview": GeminiRules(levels=_ALL - {"MINIMAL"}),
    "gemini-3.1-flash-lite": GeminiRules(levels=_ALL),
    "gemini-3.5-flash": GeminiRules(levels=_ALL),
    "gemini-3.5-flash-lite": GeminiRules(levels=_ALL),
    "gemini-3.7-flash": GeminiRules(levels=_ALL),
    "gemini-3.8-flash": GeminiRules(levels=_ALL),
}
