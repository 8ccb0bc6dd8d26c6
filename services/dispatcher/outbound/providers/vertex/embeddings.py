"""Vertex AI's text embeddings: `predict` of Google's own models. Does no I/O.

Reference: docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
(November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from services.dispatcher.domain.conversation import Refused
from services.dispatcher.domain.embedding import EmbeddingRequest
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import Embeddings
from services.dispatcher.outbound.providers.embedding_batches import (
    NOT_EMBEDDINGS,
    embedded,
    vectors,
)

METHOD: Final = "predict"
TAKEN: Final = frozenset({"dimensions", "input_type"})
INPUTS_MAX: Final = 250
BATCH_BYTES_MAX: Final = 40_000
"""One call takes 20,000 tokens in all, which are at least two bytes each."""
_ONE_AT_A_TIME: Final = "gemini-embedding"
TASK_TYPES: Final[Mapping[str, str]] = {
    "search_query": "RETRIEVAL_QUERY",
    "search_document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}
"""Google's words for Cohere's; its own are taken too."""
_GOOGLES_OWN: Final = frozenset(
    {
        *TASK_TYPES.values(),
        "SEMANTIC_SIMILARITY",
        "QUESTION_ANSWERING",
        "FACT_VERIFICATION",
        "CODE_RETRIEVAL_QUERY",
    }
)


class _Statistics(msgspec.Struct, frozen=True):
    token_count: float | None = None


class _Embedding(msgspec.Struct):
    values: list[float]
    statistics: _Statistics = _Statistics()


class _Prediction(msgspec.Struct):
    embeddings: _Embedding


class _Answer(msgspec.Struct):
    predictions: list[_Prediction]


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


def inputs_max(provider_model: str) -> int:
    """How many texts one call of a model takes."""
    return 1 if provider_model.startswith(_ONE_AT_A_TIME) else INPUTS_MAX


def task_type(request: EmbeddingRequest) -> str | Refused | None:
    """What the vectors are for, in Google's words."""
    wanted = request.input_type
    if wanted is None:
        return None
    word = TASK_TYPES.get(wanted, wanted.upper())
    if word not in _GOOGLES_OWN:
        return Refused("input_type", f"must be one of {', '.join(TASK_TYPES)}")
    return word


def write_body(request: EmbeddingRequest, texts: Sequence[str], task: str | None) -> bytes:
    """The body of one call. A text that is too long is an error, and not cut in silence."""
    parameters: dict[str, Any] = {"autoTruncate": False}
    if request.dimensions is not None:
        parameters["outputDimensionality"] = request.dimensions
    about = {} if task is None else {"task_type": task}
    instances = [{"content": text, **about} for text in texts]
    return _encode({"instances": instances, "parameters": parameters})


def read_answer(body: bytes, *, inputs: int) -> Embeddings | ProviderFailure:
    """The vectors of an answer; usage is told when it is for every text."""
    try:
        told = [each.embeddings for each in _decode(body).predictions]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NOT_EMBEDDINGS
    found = vectors([each.values for each in told], inputs=inputs)
    if found is None:
        return NOT_EMBEDDINGS
    counts = [each.statistics.token_count for each in told]
    known = [count for count in counts if count is not None]
    tokens = int(sum(known)) if len(known) == len(counts) else None
    return Embeddings(vectors=found, usage=embedded(tokens))
