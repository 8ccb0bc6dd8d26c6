"""What the families of models that embed take of InvokeModel on Bedrock, and what they answer.

Sources: docs.aws.amazon.com/bedrock/latest/userguide, pages model-parameters-titan-embed-text,
model-parameters-embed-v3 and -v4 (November 2026).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.dispatcher.domain.conversation import Refused
from services.dispatcher.domain.embedding import EmbeddingRequest
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import Embeddings
from services.dispatcher.outbound.providers.embedding_batches import (
    NO_EMBEDDINGS,
    NOT_EMBEDDINGS,
    embedded,
    vectors,
)

INPUT_TYPES: Final = ("search_document", "search_query", "classification", "clustering")
"""Cohere's models want to be told one of them; the first is taken where the client says none."""
COHERE_INPUTS_MAX: Final = 96

Body = dict[str, Any]


class _Titan(msgspec.Struct, rename="camel"):
    embedding: list[float]
    input_text_token_count: int | None = None


class _ByType(msgspec.Struct):
    vectors: list[list[float]] = msgspec.field(name="float")


class _Cohere(msgspec.Struct):
    embeddings: _ByType | list[list[float]]


_decode_titan = msgspec.json.Decoder(_Titan).decode
_decode_cohere = msgspec.json.Decoder(_Cohere).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that are called alike. `taken` are the parameters of the request that they take."""

    inputs_max: int
    taken: frozenset[str]
    write: Callable[[EmbeddingRequest, Sequence[str]], Body]
    read: Callable[[bytes, int | None, int], Embeddings | None]


def family_of(provider_model: str) -> Family | ProviderFailure:
    """The family of a model, by its id without the prefix of a profile."""
    for start, family in _FAMILIES:
        if provider_model.startswith(start):
            return family
    return NO_EMBEDDINGS


def refusal_of(request: EmbeddingRequest, family: Family) -> ProviderFailure | None:
    """Why models of the family cannot serve the request."""
    if "input_type" in family.taken and request.input_type not in {None, *INPUT_TYPES}:
        return Refused("input_type", f"must be one of {', '.join(INPUT_TYPES)}").at_provider()
    return request.left_out(family.taken)


def read_answer(
    family: Family, body: bytes, *, counted: int | None, inputs: int
) -> Embeddings | ProviderFailure:
    """The vectors; `counted` are the tokens of the header that Bedrock adds to every answer."""
    try:
        found = family.read(body, counted, inputs)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NOT_EMBEDDINGS
    return NOT_EMBEDDINGS if found is None else found


def _write_titan_v1(_request: EmbeddingRequest, texts: Sequence[str]) -> Body:
    return {"inputText": texts[0]}


def _write_titan_v2(request: EmbeddingRequest, texts: Sequence[str]) -> Body:
    body: Body = {"inputText": texts[0]}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def _write_cohere_v3(request: EmbeddingRequest, texts: Sequence[str]) -> Body:
    # a text that is too long is an error, as it is elsewhere, and not cut in silence
    return {
        "texts": texts,
        "input_type": request.input_type or INPUT_TYPES[0],
        "embedding_types": ["float"],
        "truncate": "NONE",
    }


def _write_cohere_v4(request: EmbeddingRequest, texts: Sequence[str]) -> Body:
    body = _write_cohere_v3(request, texts)
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return body


def _read_titan(body: bytes, counted: int | None, inputs: int) -> Embeddings | None:
    answer = _decode_titan(body)
    tokens = counted if answer.input_text_token_count is None else answer.input_text_token_count
    return _embeddings([answer.embedding], tokens, inputs)


def _read_cohere(body: bytes, counted: int | None, inputs: int) -> Embeddings | None:
    told = _decode_cohere(body).embeddings
    return _embeddings(told.vectors if isinstance(told, _ByType) else told, counted, inputs)


def _embeddings(told: list[list[float]], tokens: int | None, inputs: int) -> Embeddings | None:
    found = vectors(told, inputs=inputs)
    return None if found is None else Embeddings(vectors=found, usage=embedded(tokens))


_TITAN_V2: Final = Family(
    inputs_max=1, taken=frozenset({"dimensions"}), write=_write_titan_v2, read=_read_titan
)
_TITAN_V1: Final = Family(inputs_max=1, taken=frozenset(), write=_write_titan_v1, read=_read_titan)
_COHERE_V4: Final = Family(
    inputs_max=COHERE_INPUTS_MAX,
    taken=frozenset({"dimensions", "input_type"}),
    write=_write_cohere_v4,
    read=_read_cohere,
)
_COHERE_V3: Final = Family(
    inputs_max=COHERE_INPUTS_MAX,
    taken=frozenset({"input_type"}),
    write=_write_cohere_v3,
    read=_read_cohere,
)
_FAMILIES: Final = (
    ("amazon.titan-embed-text-v2", _TITAN_V2),
    ("amazon.titan-embed-text-v1", _TITAN_V1),
    ("amazon.titan-embed-g1-text", _TITAN_V1),
    ("cohere.embed-v4", _COHERE_V4),
    ("cohere.embed-", _COHERE_V3),
)


def write_body(family: Family, request: EmbeddingRequest, texts: Sequence[str]) -> bytes:
    """The body of one call."""
    return _encode(family.write(request, texts))
