"""Which provider can do what: one cell each, none left out. `test_capabilities.py` tries every cell.

Who adds a provider fills in a row: `SUPPORTED`, or `Unsupported` and why. A cell says what the adapter
and the provider's models together can do; a single model may do less, which its catalog entry says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Capability(StrEnum):
    PLAIN = "plain"
    STREAM = "stream"
    TOOLS = "tools"
    PARALLEL_TOOLS = "parallel_tools"
    IMAGE = "image"
    JSON_SCHEMA = "json_schema"
    REASONING = "reasoning"
    STOP = "stop"
    USAGE = "usage"
    CACHED_USAGE = "cached_usage"
    ERRORS = "errors"
    CANCEL = "cancel"
    MID_STREAM_FAILURE = "mid_stream_failure"
    EMPTY_COMPLETION = "empty_completion"
    EMBEDDINGS = "embeddings"


@dataclass(frozen=True, slots=True)
class Supported:
    pass


@dataclass(frozen=True, slots=True)
class Unsupported:
    reason: str


Cell = Supported | Unsupported
Row = Mapping[Capability, Cell]

SUPPORTED: Final = Supported()
_TEXT_ONLY: Final = Unsupported("its models take text only")

_NO_SWITCH: Final = Unsupported(
    "it may call several tools at once, but takes no parallel_tool_calls that forbids it"
)
_NO_EMBEDDINGS: Final = Unsupported("it offers no embeddings")
_GEMINIS_WIRE: Final = Unsupported("Vertex AI embeds by predict alone, which is Google's own wire")
_DATA_ONLY: Final = Unsupported("Vertex AI does not fetch images for Claude; data URLs it takes")


def _all_but(unsupported: Mapping[Capability, Unsupported] | None = None) -> Row:
    return dict.fromkeys(Capability, SUPPORTED) | dict(unsupported or {})


TABLE: Final[Mapping[str, Row]] = {
    "openai": _all_but(),
    "azure": _all_but(),
    "anthropic": _all_but({Capability.EMBEDDINGS: _NO_EMBEDDINGS}),
    "amazon-bedrock": _all_but(),
    "mistral": _all_but(),
    "deepseek": _all_but(
        {
            Capability.IMAGE: _TEXT_ONLY,
            Capability.EMBEDDINGS: _NO_EMBEDDINGS,
            Capability.JSON_SCHEMA: Unsupported("it knows json_object only"),
        }
    ),
    "groq": _all_but({Capability.EMBEDDINGS: _NO_EMBEDDINGS}),
    "together": _all_but(),
    "fireworks": _all_but(),
    "xai": _all_but({Capability.EMBEDDINGS: _NO_EMBEDDINGS}),
    "google-ai-studio": _all_but({Capability.PARALLEL_TOOLS: _NO_SWITCH}),
    "cohere": _all_but({Capability.PARALLEL_TOOLS: _NO_SWITCH}),
    "openrouter": _all_but(),
    "google-vertex": _all_but({Capability.PARALLEL_TOOLS: _NO_SWITCH}),
    "google-vertex:anthropic": _all_but(
        {Capability.IMAGE: _DATA_ONLY, Capability.EMBEDDINGS: _GEMINIS_WIRE}
    ),
    "google-vertex:openai": _all_but(
        {Capability.IMAGE: _TEXT_ONLY, Capability.EMBEDDINGS: _GEMINIS_WIRE}
    ),
}
"""By provider, and by the wire of those that speak several (`google-vertex:<api>`)."""
