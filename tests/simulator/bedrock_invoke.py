"""InvokeModel of Bedrock's models that embed: Amazon's Titan, one text a call, and Cohere's, up to 96.

Reference: docs.aws.amazon.com/bedrock/latest/userguide, model-parameters-titan-embed-text,
model-parameters-embed-v3 and -v4 (November 2026).
"""

from typing import Any, Final, Literal

import msgspec

from tests.simulator.embeddings import Asked
from tests.simulator.errors import Cause, RequestRefused

TOKENS_HEADER: Final = "X-Amzn-Bedrock-Input-Token-Count"
TEXTS_MAX: Final = 96
_TITAN_V2_DIMENSIONS: Final = (256, 512, 1024)
_COHERE_DIMENSIONS: Final = (256, 512, 1024, 1536)


class _TitanV1(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    input_text: str


class _TitanV2(_TitanV1, forbid_unknown_fields=True, rename="camel", kw_only=True):
    dimensions: int | None = None
    normalize: bool = True
    embedding_types: list[Literal["float", "binary"]] = []


class _CohereV3(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    texts: list[str]
    input_type: Literal["search_document", "search_query", "classification", "clustering"]
    truncate: Literal["NONE", "START", "END"] = "NONE"
    embedding_types: list[Literal["float", "int8", "uint8", "binary", "ubinary"]] = []


class _CohereV4(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    texts: list[str]
    input_type: Literal["search_document", "search_query", "classification", "clustering"]
    truncate: Literal["NONE", "LEFT", "RIGHT"] = "RIGHT"
    embedding_types: list[Literal["float", "int8", "uint8", "binary", "ubinary"]] = []
    output_dimension: int | None = None
    max_tokens: int | None = None


def decode(body: bytes, model: str) -> Asked:
    """Read a body for a base model; raises RequestRefused with Bedrock's message."""
    try:
        if model.startswith("amazon.titan-embed-text-v2"):
            return _titan(msgspec.json.decode(body, type=_TitanV2), model)
        if model.startswith("amazon.titan-embed"):
            v1 = msgspec.json.decode(body, type=_TitanV1)
            return _titan(_TitanV2(input_text=v1.input_text), model)
        if model.startswith("cohere.embed-v4"):
            return _cohere(msgspec.json.decode(body, type=_CohereV4), model)
        if model.startswith("cohere.embed-"):
            v3 = msgspec.json.decode(body, type=_CohereV3)
            return _cohere(_CohereV4(texts=v3.texts, input_type=v3.input_type), model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise _invalid(f"Malformed input request: {problem}, please reformat your input") from None
    raise _invalid("The requested operation is not supported by this model.")


def _invalid(message: str) -> RequestRefused:
    return RequestRefused(Cause.INVALID_VALUE, message)


def _titan(asked: _TitanV2, model: str) -> Asked:
    if not asked.input_text:
        raise _invalid("Malformed input request: expected minLength: 1, actual: 0")
    if asked.dimensions not in {None, *_TITAN_V2_DIMENSIONS}:
        raise _invalid(f"Malformed input request: {asked.dimensions} is not a valid enum value")
    return Asked(model=model, inputs=[asked.input_text], dimensions=asked.dimensions)


def _cohere(asked: _CohereV4, model: str) -> Asked:
    if not 0 < len(asked.texts) <= TEXTS_MAX:
        raise _invalid(f"Malformed input request: expected at most {TEXTS_MAX} texts")
    if asked.output_dimension not in {None, *_COHERE_DIMENSIONS}:
        raise _invalid(f"Malformed input request: output_dimension {asked.output_dimension}")
    return Asked(model=model, inputs=asked.texts, dimensions=asked.output_dimension)


def answer(asked: Asked, *, usage_told: bool) -> bytes:
    """The body of the answer; Cohere's models leave the count of tokens to the header."""
    if asked.model.startswith("cohere."):
        return msgspec.json.encode(
            {
                "id": "simulator",
                "response_type": "embeddings_by_type",
                "embeddings": {"float": asked.vectors},
                "texts": asked.inputs,
            }
        )
    [vector] = asked.vectors
    body: dict[str, Any] = {"embedding": vector, "embeddingsByType": {"float": vector}}
    if usage_told:
        body["inputTextTokenCount"] = asked.usage.prompt_tokens
    return msgspec.json.encode(body)
