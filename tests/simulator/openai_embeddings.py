"""`POST /embeddings` as OpenAI and Azure read and answer it: unknown arguments and wrong types are 400s."""

from typing import Any, Final, Literal

import msgspec

from tests.simulator.chat_request import unknown_argument
from tests.simulator.embeddings import Asked, Input, as_base64, is_embedder
from tests.simulator.errors import Cause, RequestRefused

INPUTS_MAX: Final = 2048
_FIXED_LENGTH: Final = "text-embedding-ada"


class _Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Every argument of OpenAI's reference (autumn 2026)."""

    input: str | list[str | int | list[int]]
    model: str | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None


class _FoundryBody(_Body, forbid_unknown_fields=True, kw_only=True):
    """Azure's model inference API has one more."""

    input_type: Literal["text", "query", "document"] | None = None


def decode(body: bytes, *, model: str | None = None) -> Asked:
    """Read a body; `model` is told by the path where the body need not. Raises RequestRefused."""
    return _read(body, _Body, model)


def decode_foundry(body: bytes, extra_parameters: str | None) -> Asked:
    """The same for a whole Foundry resource, which takes `user` only where it is told what to do with it."""
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise _bad_json() from problem
    if "user" in given and extra_parameters not in {"pass-through", "drop"}:
        raise unknown_argument("user")
    return _read(body, _FoundryBody, None)


def _read(body: bytes, kind: type[_Body], model: str | None) -> Asked:
    try:
        asked = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as problem:
        raise _explained(body, kind, problem) from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise _bad_json() from problem
    chosen = model or asked.model
    if not chosen:
        raise RequestRefused(Cause.MISSING_PARAMETER, "you must provide a model parameter")
    if not is_embedder(chosen):
        raise RequestRefused(
            Cause.INVALID_VALUE, "You are not allowed to generate embeddings from this model"
        )
    if asked.dimensions is not None and chosen.startswith(_FIXED_LENGTH):
        raise RequestRefused(
            Cause.INVALID_VALUE, "This model does not support specifying dimensions."
        )
    return Asked(
        model=chosen,
        inputs=_inputs(asked.input),
        dimensions=asked.dimensions,
        base64=asked.encoding_format == "base64",
    )


def _bad_json() -> RequestRefused:
    return RequestRefused(Cause.BAD_JSON, "We could not parse the JSON body of your request.")


def _explained(body: bytes, kind: type[_Body], problem: msgspec.ValidationError) -> RequestRefused:
    given = msgspec.json.decode(body)
    if not isinstance(given, dict):
        return RequestRefused(Cause.INVALID_TYPE, "Invalid type for the body: expected an object.")
    unknown = sorted(given.keys() - frozenset(kind.__struct_fields__))
    if unknown:
        return unknown_argument(*unknown)
    return RequestRefused(Cause.INVALID_TYPE, f"'$' is invalid: {problem}.")


def _inputs(given: str | list[str | int | list[int]]) -> list[Input]:
    if isinstance(given, list) and given and all(isinstance(each, int) for each in given):
        return [[each for each in given if isinstance(each, int)]]
    inputs = [given] if isinstance(given, str) else given
    texts = [each for each in inputs if isinstance(each, str)]
    tokens = [each for each in inputs if isinstance(each, list)]
    if not inputs or len(inputs) not in {len(texts), len(tokens)} or not all(inputs):
        raise RequestRefused(Cause.INVALID_VALUE, "'$.input' is invalid.", param="input")
    if len(inputs) > INPUTS_MAX:
        raise RequestRefused(
            Cause.INVALID_VALUE,
            f"Invalid 'input': array too long. Expected an array with maximum length {INPUTS_MAX}.",
            param="input",
        )
    return [*texts, *tokens]


def answer(asked: Asked, *, usage_told: bool) -> bytes:
    """The body of the answer."""
    body: dict[str, Any] = {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": at,
                "embedding": as_base64(vector) if asked.base64 else vector,
            }
            for at, vector in enumerate(asked.vectors)
        ],
        "model": asked.model,
    }
    if usage_told:
        tokens = asked.usage.prompt_tokens
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode(body)
