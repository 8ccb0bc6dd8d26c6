"""What each of Anthropic's models takes, as its documentation says, a row for each (November 2026)."""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRules:
    """`thinking` are the types that it takes; `samples` how many of temperature and top_p."""

    thinking: frozenset[str]
    samples: Literal[0, 1, 2]
    efforts: frozenset[str] = frozenset()
    schemas: bool = True
    forced_tools: bool = True
    prefill: bool = True


_USUAL = frozenset({"low", "medium", "high"})
_ALL = _USUAL | {"xhigh", "max"}

MODELS: Final = {
    "claude-3-haiku-20240307": ModelRules(thinking=frozenset(), samples=2, schemas=False),
    "claude-haiku-4-5-20251001": ModelRules(thinking=frozenset({"enabled", "disabled"}), samples=1),
    "claude-opus-4-5-20251101": ModelRules(
        thinking=frozenset({"enabled", "disabled"}), samples=1, efforts=_USUAL
    ),
    "claude-sonnet-4-5-20250929": ModelRules(
        thinking=frozenset({"enabled", "disabled"}), samples=1
    ),
    "claude-opus-4-6": ModelRules(
        thinking=frozenset({"enabled", "adaptive", "disabled"}),
        samples=1,
        efforts=_USUAL | {"max"},
        prefill=False,
    ),
    "claude-opus-4-7": ModelRules(
        thinking=frozenset({"adaptive", "disabled"}), samples=0, efforts=_ALL, prefill=False
    ),
    "claude-opus-5": ModelRules(
        thinking=frozenset({"adaptive", "disabled"}), samples=0, efforts=_ALL, prefill=False
    ),
    "claude-sonnet-5-5": ModelRules(
        thinking=frozenset({"adaptive"}),
        samples=0,
        efforts=_ALL,
        forced_tools=False,
        prefill=False,
    ),
    "claude-sonnet-4-6": ModelRules(
        thinking=frozenset({"enabled", "adaptive", "disabled"}),
        samples=1,
        efforts=_USUAL | {"max"},
        prefill=False,
    ),
    "claude-opus-4-8": ModelRules(
        thinking=frozenset({"adaptive", "disabled"}), samples=0, efforts=_ALL, prefill=False
    ),
    "claude-sonnet-5": ModelRules(
        thinking=frozenset({"adaptive", "disabled"}), samples=0, efforts=_ALL, prefill=False
    ),
    "claude-haiku-5-5": ModelRules(
        thinking=frozenset({"adaptive", "disabled"}),
        samples=0,
        efforts=_ALL,
        forced_tools=False,
        prefill=False,
    ),
    "claude-opus-5-5": ModelRules(
        thinking=frozenset({"adaptive"}),
        samples=0,
        efforts=_ALL,
        forced_tools=False,
        prefill=False,
    ),
}
