"""Token counts as a provider tells them, whichever way it counts, made into our inclusive Usage."""

from typing import Final

import msgspec

from shared.events.usage import Usage

_TOKENS_MAX: Final = 1 << 40
"""Far above any context; keeps sums inside 64 bits whatever a provider writes."""


class ProviderCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One answer's counts. The two conventions have no default: each adapter says which are its own.

    `cache_in_input`: whether `input_tokens` include those read from and written to a cache (OpenAI
    and Gemini: yes; Anthropic and Bedrock: no). `reasoning_in_output`: whether `output_tokens` include
    reasoning (OpenAI, Anthropic: yes; Gemini, xAI: no).
    """

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_in_input: bool
    reasoning_in_output: bool

    def inclusive(self) -> Usage:
        """Every token counted once; a part never exceeds its whole."""
        read, write = _count(self.cache_read_tokens), _count(self.cache_write_tokens)
        prompt = _count(self.input_tokens) + (0 if self.cache_in_input else read + write)
        reasoning = _count(self.reasoning_tokens)
        completion = _count(self.output_tokens) + (0 if self.reasoning_in_output else reasoning)
        cached = min(prompt, read)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            cache_write_tokens=min(prompt - cached, write),
            reasoning_tokens=min(completion, reasoning),
        )


def _count(told: int | None) -> int:
    return 0 if told is None else max(0, min(told, _TOKENS_MAX))
