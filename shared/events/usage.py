"""Token counts and prices, and the exact sum of the two."""

import msgspec

from shared.money import PicoUsd


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of one generation, inclusive counts.

    `cached_tokens` and `cache_write_tokens` are parts of `prompt_tokens`, `reasoning_tokens` a part
    of `completion_tokens`. `estimated` says that the provider did not tell and we counted.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


class Prices(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """List prices in pico-USD a token (`request` a request). A cache price of None is `prompt`."""

    prompt: int
    completion: int
    input_cache_read: int | None = None
    input_cache_write: int | None = None
    request: int = 0


def prompt_cost(usage: Usage, prices: Prices) -> PicoUsd:
    """The exact cost of the prompt: cached, cache-write and fresh tokens each at their own price."""
    read = prices.prompt if prices.input_cache_read is None else prices.input_cache_read
    write = prices.prompt if prices.input_cache_write is None else prices.input_cache_write
    fresh = max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens)
    return PicoUsd(
        fresh * prices.prompt
        + usage.cached_tokens * read
        + usage.cache_write_tokens * write
        + prices.request
    )


def completion_cost(usage: Usage, prices: Prices) -> PicoUsd:
    """The exact cost of the completion."""
    return PicoUsd(usage.completion_tokens * prices.completion)


def list_cost(usage: Usage, prices: Prices) -> PicoUsd:
    """The exact list cost of a generation, in pico-USD."""
    return PicoUsd(prompt_cost(usage, prices) + completion_cost(usage, prices))
