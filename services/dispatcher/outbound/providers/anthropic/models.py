"""What each generation of Claude takes, told from the model's name.

Sources: platform.claude.com, pages thinking, effort, structured outputs and the migration guides to
4.7, 5 and 5.5; Anthropic's SDK 2.14 (November 2026). By version and not by a list of names, so that a
new model is read as the newest known, which takes the least.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from services.dispatcher.domain.conversation import Effort

Thinking = Literal["none", "budget", "either", "adaptive"]
"""`budget`: with `budget_tokens`; `adaptive`: as the model sees fit, steered by effort."""
Samples = Literal["all", "one", "none"]
"""Of temperature and top_p: both, either, or neither (nor `top_k`)."""

_NAME: Final = re.compile(
    r"claude-(?:([a-z]+)-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)(?:-([a-z]+))?", re.IGNORECASE
)
_NEWEST: Final = (99, 0)
_NAMES_REMEMBERED_MAX: Final = 512
_LOW_TO_HIGH: Final[tuple[Effort, ...]] = ("low", "medium", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claude:
    """One model. `version` is (major, minor); unversioned names (`claude-mythos-preview`) are newest."""

    family: str
    version: tuple[int, int]

    @property
    def thinking(self) -> Thinking:
        """In which way it can be told to think."""
        if self.version < (3, 7):
            return "none"
        if self.version < (4, 6):
            return "budget"
        return "either" if self.version == (4, 6) else "adaptive"

    @property
    def is_told_not_to_think(self) -> bool:
        """Whether it thinks unless told not to, and can be told."""
        if self.family == "haiku":
            return (5, 0) <= self.version < _NEWEST
        return self.family in {"opus", "sonnet"} and self.version == (5, 0)

    @property
    def always_thinks(self) -> bool:
        """Whether nothing stops it from thinking."""
        return self.version >= (5, 0) and not self.is_told_not_to_think

    @property
    def samples(self) -> Samples:
        """Which sampling it lets a caller choose."""
        if self.version < (4, 1):
            return "all"
        return "one" if self.version < (4, 7) else "none"

    @property
    def efforts(self) -> tuple[Effort, ...]:
        """The efforts that `output_config` may name, least first; none where it is not known."""
        if self.version >= (4, 7):
            return (*_LOW_TO_HIGH, "xhigh", "max")
        if self.version == (4, 6):
            return (*_LOW_TO_HIGH, "max")
        return _LOW_TO_HIGH if (self.family, self.version) == ("opus", (4, 5)) else ()

    @property
    def knows_schemas(self) -> bool:
        """Whether answers and tool calls can be held to a JSON schema."""
        return self.version >= (4, 5) or (self.family, self.version) == ("opus", (4, 1))

    @property
    def can_be_forced(self) -> bool:
        """Whether it can be made to call a tool."""
        return self.version < (5, 5)

    def effort(self, wanted: Effort) -> Effort | None:
        """The nearest effort it knows that is not above; its least when all are."""
        if not self.efforts:
            return None
        place = _ORDER.index(wanted)
        below = [effort for effort in self.efforts if _ORDER.index(effort) <= place]
        return below[-1] if below else self.efforts[0]


_ORDER: Final[tuple[Effort, ...]] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@lru_cache(maxsize=_NAMES_REMEMBERED_MAX)
def claude(name: str) -> Claude:
    """The model of a provider's name: `claude-sonnet-4-5@20250929`, `anthropic.claude-opus-4-6-v1`."""
    found = _NAME.search(name)
    if found is None:
        return Claude(family="", version=_NEWEST)
    before, major, minor, after = found.groups()
    return Claude(
        family=(before or after or "").lower(), version=(int(major), int(minor) if minor else 0)
    )
