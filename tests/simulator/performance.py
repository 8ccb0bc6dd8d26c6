"""How an answer is given: what a step comes to, for the one place that writes answers."""

from dataclasses import dataclass
from typing import Literal

Ending = Literal["whole", "cut", "clean", "error_event"]
"""`cut`: the connection drops; `clean`: the body just ends; `error_event`: an error comes last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """`chunks` counts the pieces of content before an ending that is not whole."""

    ending: Ending = "whole"
    chunks: int = 0
    delay_seconds: float = 0
    pause_ms: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    usage_told: bool = True
    empty: bool = False
