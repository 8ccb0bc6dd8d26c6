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


class LongPromptPrices(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every token costs, in pico-USD, once a prompt has more tokens than `above_tokens`."""

    above_tokens: int
    prompt: int
    completion: int
    input_cache_read: int | None = None
    input_cache_write: int | None = None


class Prices(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """List prices in pico-USD a token (`request` a request). A cache price of None is `prompt`.

    `long_prompt` takes the place of all but `request` for longer prompts; none of its prices is
    lower, so that a worst case reckoned with too many tokens stays the worst.
    """

    prompt: int
    completion: int
    input_cache_read: int | None = None
    input_cache_write: int | None = None
    request: int = 0
    long_prompt: LongPromptPrices | None = None


def _tier(usage: Usage, prices: Prices) -> Prices | LongPromptPrices:
    """The prices of the generation's tokens: all of them change with the length of its prompt."""
    tier = prices.long_prompt
    return prices if tier is None or usage.prompt_tokens <= tier.above_tokens else tier


def prompt_cost(usage: Usage, prices: Prices) -> PicoUsd:
    """The exact cost of the prompt: cached, cache-write and fresh tokens each at their own price."""
    tier = _tier(usage, prices)
    read = tier.prompt if tier.input_cache_read is None else tier.input_cache_read
    write = tier.prompt if tier.input_cache_write is None else tier.input_cache_write
    fresh = max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens)
    return PicoUsd(
        fresh * tier.prompt
        + usage.cached_tokens * read
        + usage.cache_write_tokens * write
        + prices.request
    )


def completion_cost(usage: Usage, prices: Prices) -> PicoUsd:
    """The exact cost of the completion."""
    return PicoUsd(usage.completion_tokens * _tier(usage, prices).completion)


def list_cost(usage: Usage, prices: Prices) -> PicoUsd:
    """The exact list cost of a generation, in pico-USD."""
    return PicoUsd(prompt_cost(usage, prices) + completion_cost(usage, prices))
