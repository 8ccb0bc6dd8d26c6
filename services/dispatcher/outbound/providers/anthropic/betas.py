"""Beta features of Claude, which the client names and we do: `anthropic-beta`, or `anthropic_beta` in a body.

Source: platform.claude.com/docs/en/api/beta-headers (November 2026).
"""

from typing import Final

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.request import ChatRequest

INTERLEAVED_THINKING: Final = "interleaved-thinking-2025-05-14"

_AT_LIST_PRICE: Final = frozenset(
    {
        "fine-grained-tool-streaming-2025-05-14",
        INTERLEAVED_THINKING,
        "structured-outputs-2025-11-13",
    }
)
"""Those that change no price. Others may (`context-1m-...`), so they are for people's own keys alone."""


def betas(attempt: Attempt, request: ChatRequest, *ours: str) -> tuple[str, ...]:
    """`ours`, and those of the client's that may go with this attempt, each once."""
    named = request.anthropic_betas
    if not attempt.is_byok:
        named = tuple(name for name in named if name in _AT_LIST_PRICE)
    return tuple(dict.fromkeys((*ours, *named)))
