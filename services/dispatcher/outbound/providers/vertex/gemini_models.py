"""What each generation of Gemini takes, told from the model's name.

Sources: docs.cloud.google.com/vertex-ai/generative-ai/docs/thinking and .../model-reference/inference
(November 2026). By version, so that a new model is read as the newest known.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from services.dispatcher.domain.conversation import Effort

Level = Literal["MINIMAL", "LOW", "MEDIUM", "HIGH"]

_NAME: Final = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?:-([a-z]+)(?:-(lite))?)?")
_NEWEST: Final = (99, 0)
_NAMES_REMEMBERED_MAX: Final = 512
_LEVELS: Final[dict[Effort, Level]] = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemini:
    """One model. `version` is (major, minor); `kind` is `pro`, `flash`, ...; a name of none is newest."""

    version: tuple[int, int]
    kind: str
    is_lite: bool

    @property
    def thinking(self) -> Literal["none", "budget", "level"]:
        """In which way it can be told how much to think."""
        if self.version < (2, 5):
            return "none"
        return "budget" if self.version < (3, 0) else "level"

    @property
    def stops_thinking(self) -> bool:
        """Whether it can be told not to think at all."""
        return self.thinking == "none" or (self.thinking == "budget" and self.kind == "flash")

    @property
    def budgets(self) -> tuple[int, int]:
        """The least and most tokens to think with, of models that take a budget."""
        if self.kind == "pro":
            return 128, 32_768
        return (512 if self.is_lite else 1), 24_576

    @property
    def signs_calls(self) -> bool:
        """Whether it refuses a call of its own that comes back without its signature."""
        return self.version >= (3, 0)

    @property
    def calls_tools_in_a_form(self) -> bool:
        """Whether tools and a form of the answer go together."""
        return self.version >= (3, 0)

    @property
    def penalises(self) -> bool:
        """Whether it takes penalties, which newer models answer with 400."""
        return self.version < (2, 5)

    @property
    def tells_log_probabilities(self) -> bool:
        """Whether it takes `responseLogprobs`, which newer models answer with 400."""
        return self.version < (3, 0)

    def level(self, effort: Effort) -> Level:
        """The nearest level that it knows."""
        level = _LEVELS[effort]
        if self.kind != "pro":
            return level
        if level == "MEDIUM" and self.version == (3, 0):
            return "HIGH"
        return "LOW" if level == "MINIMAL" else level


@lru_cache(maxsize=_NAMES_REMEMBERED_MAX)
def gemini(name: str) -> Gemini:
    """The model of a provider's name: `gemini-2.5-flash-lite`, `gemini-3.1-pro-preview`."""
    found = _NAME.search(name)
    if found is None:
        return Gemini(version=_NEWEST, kind="", is_lite=False)
    major, minor, kind, lite = found.groups()
    return Gemini(version=(int(major), int(minor or 0)), kind=kind or "", is_lite=lite is not None)
