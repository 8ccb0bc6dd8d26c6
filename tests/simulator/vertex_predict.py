"""`predict` of Vertex AI's models that embed text.

Reference: docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
(November 2026).
"""

from typing import Any, Final, Literal

import msgspec

from tests.simulator.embeddings import Asked
from tests.simulator.errors import Cause, RequestRefused

EMBEDDERS: Final = {
    "gemini-embedding-001": 1,
    "text-embedding-005": 250,
    "text-multilingual-embedding-002": 250,
}
"""How many instances each takes in one request."""
TOKENS_MAX: Final = 20_000

_TaskType = Literal[
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
]


class _Instance(msgspec.Struct, forbid_unknown_fields=True):
    content: str
    task_type: _TaskType | None = None
    title: str | None = None


class _Parameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="camel"):
    auto_truncate: bool = True
    output_dimensionality: int | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    instances: list[_Instance]
    parameters: _Parameters = _Parameters()


def decode(body: bytes, model: str) -> Asked:
    """Read a body; raises RequestRefused with Vertex AI's message."""
    try:
        asked = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise _invalid(f"Invalid JSON payload received. {problem}") from problem
    most = EMBEDDERS[model]
    if not 0 < len(asked.instances) <= most:
        raise _invalid(f"{len(asked.instances)} instance(s) is over the limit of {most}")
    if any(not each.content for each in asked.instances):
        raise _invalid("The text content is empty.")
    wanted = asked.parameters.output_dimensionality
    if wanted is not None and wanted < 1:
        raise _invalid("outputDimensionality must be positive.")
    read = Asked(model=model, inputs=[each.content for each in asked.instances], dimensions=wanted)
    if read.usage.prompt_tokens > TOKENS_MAX:
        raise _invalid(f"The input token count exceeds the maximum number of tokens {TOKENS_MAX}")
    return read


def _invalid(message: str) -> RequestRefused:
    return RequestRefused(Cause.INVALID_VALUE, message)


def answer(asked: Asked, *, usage_told: bool) -> bytes:
    """The body of the answer."""
    predictions = [_prediction(asked, at, usage_told=usage_told) for at in range(len(asked.inputs))]
    return msgspec.json.encode({"predictions": predictions, "metadata": {}})


def _prediction(asked: Asked, at: int, *, usage_told: bool) -> dict[str, Any]:
    one = Asked(model=asked.model, inputs=asked.inputs[at : at + 1], dimensions=asked.dimensions)
    embeddings: dict[str, Any] = {"values": one.vectors[0]}
    if usage_told:
        count = one.usage.prompt_tokens
        embeddings["statistics"] = {"truncated": False, "token_count": count}
    return {"embeddings": embeddings}
