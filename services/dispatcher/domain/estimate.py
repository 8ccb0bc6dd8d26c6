"""Counting tokens without a tokenizer: never too low beforehand, about right afterwards.

Beforehand (for a hold): one token for every two bytes of the prompt's JSON. The tokenizers of this
decade take three to five bytes of English and two to three of Chinese or code for a token, so this
errs upward; base64 of images errs far upward, and the model's context length caps it. Whatever the
real count is, only the real count is charged.

Afterwards (when a provider does not tell usage): one token for every four bytes of what was sent
and of what was delivered. It is marked as an estimate wherever it is shown.
"""

from typing import Final

from services.dispatcher.domain.attempt import Endpoint
from services.dispatcher.domain.embedding import EmbeddingRequest, Input
from services.dispatcher.domain.operations import AnyRequest
from services.dispatcher.domain.request import ChatRequest
from shared.events.replies import Choice
from shared.events.usage import Prices, Usage, list_cost
from shared.money import NanoUsd, rounded

_CAUTIOUS_BYTES_PER_TOKEN: Final = 2
_USUAL_BYTES_PER_TOKEN: Final = 4
_TOKENS_AROUND_AN_INPUT: Final = 2
"""What models put before and after each text that they embed."""


def worst_usage(request: AnyRequest, endpoint: Endpoint) -> Usage:
    """The most tokens that the endpoint may take for the request and give as its answer."""
    if isinstance(request, EmbeddingRequest):
        return _most_embedded(request, endpoint)
    return _most_said(request, endpoint, longest_completion(request, endpoint))


def worst_case(request: AnyRequest, endpoint: Endpoint) -> NanoUsd:
    """The list cost of the largest answer that the endpoint may give to the request."""
    return rounded(list_cost(worst_usage(request, endpoint), endpoint.prices))


def longest_completion(request: ChatRequest, endpoint: Endpoint) -> int:
    """The most tokens of one choice: as many as are wanted and the endpoint gives."""
    wanted, longest = request.max_tokens, endpoint.output_tokens_max
    return longest if wanted is None else max(1, min(wanted, longest))


def affordable_max_tokens(
    request: ChatRequest, endpoint: Endpoint, affordable_nano_usd: int
) -> int:
    """The largest `max_tokens` whose worst case costs no more; 0 when not even one token fits."""
    prices = endpoint.prices

    def cost(max_tokens: int) -> NanoUsd:
        return rounded(list_cost(_most_said(request, endpoint, max_tokens), prices))

    fits, too_many = 0, longest_completion(request, endpoint) + 1
    while too_many - fits > 1:
        tried = (fits + too_many) // 2
        if cost(tried) <= affordable_nano_usd:
            fits = tried
        else:
            too_many = tried
    return fits


def _most_embedded(request: EmbeddingRequest, endpoint: Endpoint) -> Usage:
    """The context length is that of each input."""
    inputs = len(request.inputs)
    tokens = _tokens(request.prompt_bytes, _CAUTIOUS_BYTES_PER_TOKEN)
    tokens += _TOKENS_AROUND_AN_INPUT * inputs
    return Usage(
        prompt_tokens=min(tokens, endpoint.context_length_tokens * inputs), completion_tokens=0
    )


def _most_said(request: ChatRequest, endpoint: Endpoint, max_tokens: int) -> Usage:
    prompt_tokens = min(
        _tokens(request.prompt_bytes, _CAUTIOUS_BYTES_PER_TOKEN), endpoint.context_length_tokens
    )
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=max_tokens * request.choices_wanted,
        cache_write_tokens=prompt_tokens if _writing_costs_more(endpoint.prices) else 0,
    )


def _writing_costs_more(prices: Prices) -> bool:
    return prices.input_cache_write is not None and prices.input_cache_write > prices.prompt


def estimated_usage(request: AnyRequest, endpoint: Endpoint, delivered_bytes: int) -> Usage:
    """What a generation probably used, from what was asked and what was delivered."""
    if isinstance(request, EmbeddingRequest):
        tokens = sum(_embedded(given, endpoint) for given in request.inputs)
        return Usage(prompt_tokens=tokens, completion_tokens=0, estimated=True)
    prompt_tokens = _tokens(request.prompt_bytes, _USUAL_BYTES_PER_TOKEN)
    return Usage(
        prompt_tokens=min(prompt_tokens, endpoint.context_length_tokens),
        completion_tokens=_tokens(delivered_bytes, _USUAL_BYTES_PER_TOKEN),
        estimated=True,
    )


def _embedded(given: Input, endpoint: Endpoint) -> int:
    tokens = (
        _tokens(len(given.encode("utf-8", "replace")), _USUAL_BYTES_PER_TOKEN)
        if isinstance(given, str)
        else len(given)
    )
    return min(tokens, endpoint.context_length_tokens)


def delivered_bytes(choices: list[Choice]) -> int:
    """Bytes of text and of tool calls in choices or deltas: what the model wrote."""
    size = 0
    for choice in choices:
        message = choice.message
        for text in (message.content, message.reasoning, message.refusal):
            if text:
                size += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        for call in message.tool_calls or ():
            function = call.function
            if function is not None:
                size += len(function.name or "") + len(function.arguments or "")
    return size


def _tokens(size_bytes: int, bytes_per_token: int) -> int:
    return -(-size_bytes // bytes_per_token)
