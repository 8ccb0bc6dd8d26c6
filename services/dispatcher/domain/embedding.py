"""A request for embeddings: a vector for each input.

The body is OpenRouter's, which is OpenAI's with `input_type` and `provider`; ingress has checked it.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from services.dispatcher.domain.conversation import Refused
from services.dispatcher.domain.failure import ProviderFailure, not_taken
from services.dispatcher.domain.request import (
    ProviderPreferences,
    Request,
    UnreadableRequest,
    for_providers,
    in_lower_case,
)
from shared.events.usage import Usage

Input: TypeAlias = str | tuple[int, ...]
"""A text, or the tokens of one, which only the maker of the tokenizer can read."""

TellUsage: TypeAlias = Callable[[Usage], None]
"""Hears what the provider has counted so far of a request that needs several calls; the last one holds."""


def untold(_usage: Usage) -> None:
    """Nobody wants to hear it."""


class EmbeddingRequest(Request, frozen=True, kw_only=True):
    """Embeddings of `inputs`, at least one, all texts or all tokens.

    `dimensions` is the length of the vectors that is wanted, `input_type` what they are for, in
    Cohere's words (`search_query`, ...). In which encoding the client wants them is ingress' to see to.
    """

    inputs: tuple[Input, ...]
    dimensions: int | None = None
    input_type: str | None = None
    user: str | None = None

    @property
    def texts(self) -> tuple[str, ...] | Refused:
        """The inputs, for a provider that takes texts only."""
        texts = tuple(each for each in self.inputs if isinstance(each, str))
        if len(texts) < len(self.inputs):
            return Refused("input", "tokens cannot be passed on to this provider; send text")
        return texts

    def left_out(self, taken: frozenset[str]) -> ProviderFailure | None:
        """None when what is not `taken` may be dropped; else why this provider cannot serve."""
        if not self.preferences.require_parameters:
            return None
        told = {"dimensions": self.dimensions, "input_type": self.input_type}
        given = frozenset(name for name, value in told.items() if value is not None)
        missing = given - taken
        return not_taken(missing) if missing else None


class _Body(msgspec.Struct):
    model: str
    input: str | list[str | int | tuple[int, ...]]
    provider: ProviderPreferences | None = None
    dimensions: int | None = None
    input_type: str | None = None
    user: str | None = None


_body_decoder = msgspec.json.Decoder(_Body)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_embedding_request(body: bytes) -> EmbeddingRequest | UnreadableRequest:
    """Read the opened request body."""
    try:
        asked = _body_decoder.decode(body)
        fields = _fields_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return UnreadableRequest(f"the request body cannot be read: {error}")
    inputs = _inputs(asked.input)
    if not inputs:
        return UnreadableRequest("input: must not be empty")
    return EmbeddingRequest(
        models=(asked.model,),
        preferences=in_lower_case(asked.provider),
        fields=for_providers(fields),
        inputs=inputs,
        dimensions=asked.dimensions,
        input_type=asked.input_type,
        user=asked.user,
    )


def _inputs(given: str | list[str | int | tuple[int, ...]]) -> tuple[Input, ...]:
    """A list of numbers is the tokens of one text."""
    if isinstance(given, str):
        return (given,)
    tokens = tuple(each for each in given if isinstance(each, int))
    if tokens:
        return (tokens,)
    return tuple(each for each in given if not isinstance(each, int))
