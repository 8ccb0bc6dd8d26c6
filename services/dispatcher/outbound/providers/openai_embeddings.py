"""Embeddings of providers that speak OpenAI's `POST /embeddings`, and how they differ.

Sources: the providers' API references (autumn 2026). What is not an argument of a provider is not
sent, since most refuse names that they do not know.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.conversation import Refused
from services.dispatcher.domain.embedding import EmbeddingRequest, Input, TellUsage
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import Embeddings, upstream_id
from services.dispatcher.outbound.providers.completions_client import CompletionsClient
from services.dispatcher.outbound.providers.embedding_batches import (
    NOT_EMBEDDINGS,
    embedded,
    in_batches,
    vectors,
)
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.openai_response import is_given
from services.dispatcher.outbound.providers.quirks import NO_MODEL

PATH: Final = "/embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingWays:
    """What a provider takes. `arguments` says what it calls `dimensions`, `input_type` and `user`.

    `input_types` are its words for those of `input_type`; empty where it takes them as they are.
    `fixed_length_models` have one length of vectors and refuse `dimensions`. `inputs_max` is its own
    limit on one call, or keeps the answer below the limit of egress. `base64` is whether it knows that
    encoding, which is a quarter the size of JSON's numbers.
    """

    arguments: Mapping[str, str] = field(default_factory=dict)
    input_types: Mapping[str, str] = field(default_factory=dict)
    fixed_length_models: re.Pattern[str] = NO_MODEL
    inputs_max: int = 128
    takes_tokens: bool = False
    base64: bool = False


OPENAI: Final = EmbeddingWays(
    arguments={"dimensions": "dimensions", "user": "user"},
    fixed_length_models=re.compile("text-embedding-ada"),
    inputs_max=512,
    takes_tokens=True,
    base64=True,
)
"""OpenAI itself, and the same models on Azure."""
AZURE_OTHERS: Final = EmbeddingWays(
    # Cohere's models behind Azure's model inference API, which has words of its own.
    arguments={"dimensions": "dimensions", "input_type": "input_type"},
    input_types=MappingProxyType({"search_query": "query", "search_document": "document"}),
    inputs_max=96,
)
MISTRAL: Final = EmbeddingWays(
    arguments={"dimensions": "output_dimension"},
    fixed_length_models=re.compile("mistral-embed"),
)
TOGETHER: Final = EmbeddingWays()
FIREWORKS: Final = EmbeddingWays(arguments={"dimensions": "dimensions"})
GOOGLE_AI_STUDIO: Final = EmbeddingWays(arguments={"dimensions": "dimensions"}, inputs_max=100)
COHERE: Final = EmbeddingWays(inputs_max=96)
OPENROUTER: Final = EmbeddingWays(
    arguments={"dimensions": "dimensions", "input_type": "input_type", "user": "user"},
    inputs_max=512,
    takes_tokens=True,
    base64=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingPlace:
    """Where embeddings are asked for: an address, the hosts that the key is for, and the key."""

    url: str
    hosts: frozenset[str]
    headers: Mapping[str, str] = field(repr=False)
    secret: str = field(repr=False)


class _Vector(msgspec.Struct):
    embedding: str | list[float]
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _Answer(msgspec.Struct):
    id: Any = None
    data: list[_Vector] | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


async def embed_as_openai(
    client: CompletionsClient,
    place: EmbeddingPlace,
    attempt: Attempt,
    request: EmbeddingRequest,
    ways: EmbeddingWays,
    tell_usage: TellUsage,
) -> Embeddings | ProviderFailure:
    """Ask for a vector for each input."""
    arguments = _arguments(attempt, request, ways)
    if isinstance(arguments, ProviderFailure):
        return arguments

    async def ask(inputs: Sequence[Input]) -> Embeddings | ProviderFailure:
        answer = await client.exchange(
            place.url,
            hosts=place.hosts,
            headers=place.headers,
            body=_encode({**arguments, "input": inputs}),
            secrets=(place.secret,),
        )
        if isinstance(answer, ProviderFailure):
            return answer
        return read_embeddings(answer, FailureReader(place.secret), inputs=len(inputs))

    return await in_batches(request.inputs, ask, inputs_max=ways.inputs_max, tell_usage=tell_usage)


def _arguments(
    attempt: Attempt, request: EmbeddingRequest, ways: EmbeddingWays
) -> dict[str, Any] | ProviderFailure:
    model = attempt.endpoint.provider_model
    names = dict(ways.arguments)
    if any(
        ways.fixed_length_models.match(each.rpartition("/")[2]) for each in (attempt.model, model)
    ):
        names.pop("dimensions", None)
    failure = request.left_out(frozenset(names))
    if failure is not None:
        return failure
    if not ways.takes_tokens and isinstance(request.texts, Refused):
        return request.texts.at_provider()
    body: dict[str, Any] = {"model": model, "encoding_format": "base64" if ways.base64 else "float"}
    wanted = {
        "dimensions": request.dimensions,
        "input_type": request.input_type,
        "user": request.user,
    }
    body |= {
        names[name]: value for name, value in wanted.items() if value is not None and name in names
    }
    if ways.input_types and request.input_type is not None:
        word = ways.input_types.get(request.input_type)
        if word is None:
            return Refused("input_type", f"must be {' or '.join(ways.input_types)}").at_provider()
        body[names["input_type"]] = word
    return body


def read_embeddings(
    body: bytes, failures: FailureReader, *, inputs: int
) -> Embeddings | ProviderFailure:
    """The vectors of an answer in the order of the inputs, or the error that stands in their place."""
    try:
        answer = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NOT_EMBEDDINGS
    if is_given(answer.error):
        return failures.from_error(answer.error)
    told = answer.data or []
    places = [at if each.index is None else each.index for at, each in enumerate(told)]
    if sorted(places) != list(range(inputs)):
        return NOT_EMBEDDINGS
    in_order = sorted(zip(places, told, strict=True), key=lambda pair: pair[0])
    found = vectors([each.embedding for _, each in in_order], inputs=inputs)
    if found is None:
        return NOT_EMBEDDINGS
    usage = answer.usage or _Usage()
    return Embeddings(
        vectors=found,
        usage=embedded(usage.prompt_tokens),
        upstream_id=upstream_id(answer.id),
    )
