import json
from typing import Any

import msgspec
import pytest

from services.ingress.domain.embeddings_request import (
    INPUTS_MAX,
    EmbeddingsRequest,
    read_embeddings_request,
)
from services.ingress.domain.models import check_models
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import embeddings_wire
from shared.events.replies import ReplyCompleted, ReplyUsage

KNOWN = frozenset({"openai/gpt-4o", "openai/text-embedding-3-small"})
EMBEDDING = frozenset({"openai/text-embedding-3-small"})
BYOK = ReplyUsage(
    prompt_tokens=100,
    completion_tokens=0,
    cost_nano_usd=100,
    is_byok=True,
    list_cost_nano_usd=2_000,
    list_prompt_cost_nano_usd=2_000,
    list_completion_cost_nano_usd=0,
)


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "input": "hi", **fields}).encode()


@pytest.mark.parametrize(
    "given", ["hi", ["a", "b"], [1, 2, 3], [[1], [2, 3]], ["a"] * INPUTS_MAX, [1] * 8000]
)
def test_every_form_of_input_passes(given: Any) -> None:
    read = read_embeddings_request(body(input=given, unknown={"a": 1}))
    assert isinstance(read, EmbeddingsRequest)
    assert (read.requested_models, read.is_streamed, read.OPERATION) == (
        ("m",),
        False,
        "embeddings",
    )


def test_what_the_use_case_looks_at_is_read() -> None:
    read = read_embeddings_request(
        body(dimensions=8, encoding_format="base64", provider={"byok_only": True})
    )
    assert isinstance(read, EmbeddingsRequest)
    assert (read.is_byok_only, read.encoding_format) == (True, "base64")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "empty text": ({"input": ""}, "input: must not be empty"),
    "no input": ({"input": []}, "input: must not be empty"),
    "an empty text": ({"input": ["a", ""]}, "input[1]: must not be empty"),
    "empty tokens": ({"input": [[1], []]}, "input[1]: must not be empty"),
    "too many": (
        {"input": ["a"] * (INPUTS_MAX + 1)},
        f"input: has {INPUTS_MAX + 1} inputs; a request takes at most {INPUTS_MAX}",
    ),
    "number": ({"input": 5}, "input: expected string or array, got integer"),
    "null": ({"input": None}, "input: expected string or array, got null"),
    "object": (
        {"input": [{"content": []}]},
        "input[0]: expected integer, string or array, got object",
    ),
    "mixed": ({"input": ["a", 1]}, "input[1]: texts and tokens cannot stand in one request"),
    "mixed lists": (
        {"input": [[1], "a"]},
        "input[1]: texts and tokens cannot stand in one request",
    ),
    "a negative token": ({"input": [[1, -1]]}, "input[0][1]: expected integer >= 0"),
    "a text in tokens": ({"input": [["a"]]}, "input[0][0]: expected integer, got string"),
    "dimensions": ({"dimensions": 0}, "dimensions: expected integer >= 1"),
    "encoding": (
        {"encoding_format": "int8"},
        "encoding_format: expected one of float, base64",
    ),
    "input_type": ({"input_type": 1}, "input_type: expected string or null, got integer"),
    "user": ({"user": 1}, "user: expected string or null, got integer"),
    "provider": ({"provider": {"only": "x"}}, "provider.only: expected array or null, got string"),
    "model": ({"model": None}, "model: expected string, got null"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    fields, message = WRONG[name]
    refused = read_embeddings_request(body(**fields))
    assert isinstance(refused, Refusal), refused
    assert (refused.status, refused.message) == (400, message)


@pytest.mark.parametrize("missing", ["model", "input"])
def test_model_and_input_are_required(missing: str) -> None:
    given = {"model": "m", "input": "hi"}
    del given[missing]
    refused = read_embeddings_request(json.dumps(given).encode())
    assert isinstance(refused, Refusal)
    assert refused.message == f"{missing}: is required"


def test_a_model_that_chats_makes_no_embeddings() -> None:
    refusal = check_models(["openai/gpt-4o"], KNOWN, EMBEDDING, operation="embeddings")
    assert refusal is not None
    assert refusal.message == "model: openai/gpt-4o chats and makes no embeddings"
    assert check_models([*EMBEDDING], KNOWN, EMBEDDING, operation="embeddings") is None


def test_an_unknown_model_is_told_with_models_that_embed() -> None:
    refusal = check_models(
        ["openai/text-embedding-3-smal"], KNOWN, EMBEDDING, operation="embeddings"
    )
    assert refusal is not None
    assert refusal.message.endswith("did you mean openai/text-embedding-3-small?")


def written(*, as_base64: bool) -> Any:
    completed = ReplyCompleted(
        model="openai/text-embedding-3-small",
        provider_name="OpenAI",
        created=5,
        choices=[],
        vectors=["AACAPwAAIMA=", "AAAAAAAAAAA="],
        usage=BYOK,
        attempts=(),
    )
    pieces = embeddings_wire.pieces(
        "gen-1", completed, as_base64=as_base64, openrouter_metadata=msgspec.Raw(b'{"a":1}')
    )
    return json.loads(b"".join(pieces))


def test_the_answer_is_openai_s_with_what_it_costs() -> None:
    assert written(as_base64=False) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0, -2.5]},
            {"object": "embedding", "index": 1, "embedding": [0.0, 0.0]},
        ],
        "model": "openai/text-embedding-3-small",
        "provider": "OpenAI",
        "id": "gen-1",
        "usage": {
            "prompt_tokens": 100,
            "total_tokens": 100,
            "cost": 1e-07,
            "is_byok": True,
            "cost_details": {
                "upstream_inference_cost": 2e-06,
                "upstream_inference_prompt_cost": 2e-06,
                "upstream_inference_completions_cost": 0,
            },
        },
        "openrouter_metadata": {"a": 1},
    }


def test_base64_is_handed_on_as_it_came() -> None:
    data = written(as_base64=True)["data"]
    assert [each["embedding"] for each in data] == ["AACAPwAAIMA=", "AAAAAAAAAAA="]
