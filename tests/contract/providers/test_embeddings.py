"""Embeddings at each adapter: in batches as the provider takes them, in its own words, in order."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from struct import pack
from typing import Any

import msgspec
import pytest
from aiohttp import ClientPayloadError
from botocore.exceptions import IncompleteReadError, ResponseStreamingError

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import Embeddings
from services.dispatcher.outbound.providers.azure_resources import (
    EMBEDDINGS,
    embeddings_url,
    resource_url,
)
from services.dispatcher.outbound.providers.bedrock.adapter import Bedrock
from services.dispatcher.outbound.providers.openai_compatible import ProviderRow
from services.dispatcher.outbound.providers.registry import ROWS, open_providers
from services.dispatcher.outbound.providers.vertex.embeddings import task_type, write_body
from services.dispatcher.ports import Provider
from shared.clock import SystemClock
from shared.events.credential_secrets import (
    AwsSecret,
    AzureResourceSecret,
    AzureResourceType,
    BedrockApiKeySecret,
)
from shared.events.usage import Usage
from tests.contract.providers.builders import (
    attempt,
    azure_resource_secret,
    azure_secret,
    embedding_request,
    string_secret,
)
from tests.contract.providers.conftest import wire_of
from tests.contract.providers.handwritten import Handwritten
from tests.simulator.app import Simulator
from tests.simulator.bedrock_auth import secret_of
from tests.simulator.embeddings import as_base64, vector
from tests.simulator.scripts import Hang, Ok, Script, Status
from tests.support.wait_until import wait_until

EMBEDDERS = [row for row in ROWS if row.embeddings is not None]
DEPLOYMENT_URL = "/openai/deployments/{model}/chat/completions?api-version=2024-08-01-preview"


def floats(*values: float) -> str:
    """A vector as it travels."""
    return as_base64(values)


def body(*vectors: Any, **parts: Any) -> bytes:
    data = [{"object": "embedding", "index": at, "embedding": v} for at, v in enumerate(vectors)]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return msgspec.json.encode({"object": "list", "data": data, "usage": usage} | parts)


def of_model(slug: str, model: str, maker: str = "maker", **parts: Any) -> Attempt:
    return attempt(slug, model=f"{maker}/{model}", provider_model=model, **parts)


@asynccontextmanager
async def pointed_at(handwritten: Handwritten, slug: str) -> AsyncIterator[Provider]:
    async with open_providers(
        endpoints={slug: handwritten.url},
        egress_allow=frozenset({f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield opened[slug]


# --- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "model", "inputs", "calls"),
    [
        ("openai", "text-embedding-3-small", 600, 2),
        ("azure", "text-embedding-3-small", 600, 2),
        ("cohere", "embed-v4.0", 200, 3),
        ("google-ai-studio", "gemini-embedding-001", 101, 2),
        ("amazon-bedrock", "amazon.titan-embed-text-v2:0", 20, 20),
        ("amazon-bedrock", "amazon.titan-embed-text-v1", 3, 3),
        ("amazon-bedrock", "cohere.embed-v4:0", 100, 2),
        ("amazon-bedrock", "cohere.embed-english-v3", 97, 2),
        ("google-vertex", "gemini-embedding-001", 20, 20),
        ("google-vertex", "text-embedding-005", 251, 2),
    ],
)
async def test_many_inputs_go_in_batches_and_come_back_in_order(
    every_provider: Mapping[str, Provider],
    simulator: Simulator,
    slug: str,
    model: str,
    inputs: int,
    calls: int,
) -> None:
    wire = wire_of(slug, every_provider, simulator)
    texts = [f"text number {at}" for at in range(inputs)]
    answer = await wire.embed(*texts, model=model)
    assert isinstance(answer, Embeddings), answer
    length = len(b64decode(answer.vectors[0])) // 4
    assert answer.vectors == [as_base64(vector(text, length)) for text in texts]
    assert answer.usage == Usage(prompt_tokens=3 * inputs, completion_tokens=0)
    seen = simulator.calls.since()
    assert [call.outcome for call in seen] == ["completed"] * calls
    assert sum(call.usage.prompt_tokens for call in seen if call.usage) == 3 * inputs


async def test_a_batch_that_fails_is_the_answer_and_ends_the_others(
    every_provider: Mapping[str, Provider], simulator: Simulator
) -> None:
    wire = wire_of("amazon-bedrock", every_provider, simulator)
    simulator.scripts.put(wire.key(), Script([Ok(), Ok(), Status(status=429)], repeat="last"))
    answer = await wire.embed(*(f"text {at}" for at in range(100)))
    assert isinstance(answer, ProviderFailure)
    assert answer.failure is FailureClass.RATE_LIMITED
    assert len(simulator.calls.since()) < 20


@pytest.mark.parametrize(
    ("slug", "inputs"),
    [("amazon-bedrock", 3), ("google-vertex", 3), ("openai", 1025), ("azure", 1025)],
)
async def test_what_was_counted_is_told_though_no_answer_comes(
    providers: Mapping[str, Provider], simulator: Simulator, slug: str, inputs: int
) -> None:
    wire = wire_of(slug, providers, simulator)
    simulator.scripts.put(wire.key(), Script([Ok(), Ok(), Hang()]))
    told: list[Usage] = []
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(wire.embed(*["word"] * inputs, tell_usage=told.append))
        await wait_until(lambda: len(told) == 2)
        asking.cancel()
    counted = [call.usage.prompt_tokens for call in simulator.calls.since() if call.usage]
    assert len(counted) == 2
    assert told[-1] == Usage(prompt_tokens=sum(counted), completion_tokens=0)


async def test_long_texts_go_to_vertex_below_its_limit_of_tokens(
    every_provider: Mapping[str, Provider], simulator: Simulator
) -> None:
    wire = wire_of("google-vertex", every_provider, simulator)
    text = "word " * 2000  # 10,000 bytes
    answer = await wire.embed(*[text] * 9, model="text-embedding-005")
    assert isinstance(answer, Embeddings), answer
    assert [call.usage and call.usage.prompt_tokens for call in simulator.calls.since()] == [
        8000,
        8000,
        2000,
    ]


async def test_an_answer_of_one_call_is_named_by_the_providers_own_id(
    handwritten: Handwritten, every_provider: Mapping[str, Provider], simulator: Simulator
) -> None:
    named = body([0.5]).replace(b"{", b'{"id":"embd-1",', 1)
    handwritten.pieces = [named]
    async with pointed_at(handwritten, "mistral") as provider:
        answer = await provider.embed(
            of_model("mistral", "e"), string_secret(), embedding_request("a")
        )
    assert isinstance(answer, Embeddings)
    assert answer.upstream_id == "embd-1"
    bedrock = wire_of("amazon-bedrock", every_provider, simulator)
    one, two = await bedrock.embed("a"), await bedrock.embed("a", "b")
    assert isinstance(one, Embeddings)
    assert isinstance(two, Embeddings)
    first, *_ = simulator.calls.since()
    assert (one.upstream_id, two.upstream_id) == (first.id, None)


# --- OpenAI's format, row by row -----------------------------------------------------------------


@pytest.mark.parametrize("row", EMBEDDERS, ids=lambda row: row.slug)
async def test_every_row_that_embeds_can_be_called(
    handwritten: Handwritten, row: ProviderRow
) -> None:
    handwritten.pieces = [body([0.5, -1.0], floats(0.25))]
    async with pointed_at(handwritten, row.slug) as provider:
        answer = await provider.embed(
            of_model(row.slug, "e"), string_secret(), embedding_request("a", "b", user="me")
        )
    assert answer == Embeddings(
        vectors=[floats(0.5, -1.0), floats(0.25)],
        usage=Usage(prompt_tokens=3, completion_tokens=0),
    )
    assert handwritten.paths == ["/embeddings"]
    assert handwritten.headers[0]["Authorization"] == "Bearer sk-test-key-0001"


@pytest.mark.parametrize(
    ("slug", "model", "sent"),
    [
        (
            "openai",
            "text-embedding-3-large",
            {"encoding_format": "base64", "dimensions": 8, "user": "me"},
        ),
        ("openai", "text-embedding-ada-002", {"encoding_format": "base64", "user": "me"}),
        ("mistral", "codestral-embed", {"encoding_format": "float", "output_dimension": 8}),
        ("mistral", "mistral-embed", {"encoding_format": "float"}),
        ("cohere", "embed-v4.0", {"encoding_format": "float"}),
        ("fireworks", "nomic-embed", {"encoding_format": "float", "dimensions": 8}),
        ("google-ai-studio", "gemini-embedding-001", {"encoding_format": "float", "dimensions": 8}),
        (
            "openrouter",
            "openai/text-embedding-3-small",
            {
                "encoding_format": "base64",
                "dimensions": 8,
                "user": "me",
                "input_type": "search_query",
            },
        ),
    ],
)
async def test_a_provider_is_sent_what_it_takes_under_its_own_names(
    handwritten: Handwritten, slug: str, model: str, sent: dict[str, Any]
) -> None:
    handwritten.pieces = [body([1.0])]
    asked = embedding_request("a", dimensions=8, user="me", input_type="search_query")
    async with pointed_at(handwritten, slug) as provider:
        answer = await provider.embed(of_model(slug, model), string_secret(), asked)
        assert isinstance(answer, Embeddings)
        told = msgspec.json.decode(handwritten.bodies[0])
        assert told == {"model": model, "input": ["a"], **sent}
        insisting = embedding_request(
            "a",
            dimensions=8,
            input_type="search_query",
            provider={"require_parameters": True},
        )
        refused = await provider.embed(of_model(slug, model), string_secret(), insisting)
    takes_all = {"dimensions", "input_type"} <= sent.keys()
    assert isinstance(refused, Embeddings if takes_all else ProviderFailure)
    if isinstance(refused, ProviderFailure):
        assert refused.failure is FailureClass.UNSUPPORTED
        assert len(handwritten.bodies) == 1


@pytest.mark.parametrize("row", EMBEDDERS, ids=lambda row: row.slug)
async def test_tokens_are_passed_on_only_to_who_can_read_them(
    handwritten: Handwritten, row: ProviderRow
) -> None:
    handwritten.pieces = [body([1.0], [2.0])]
    async with pointed_at(handwritten, row.slug) as provider:
        answer = await provider.embed(
            of_model(row.slug, "e"), string_secret(), embedding_request([1, 2], [3])
        )
    assert row.embeddings is not None
    if row.embeddings.takes_tokens:
        assert isinstance(answer, Embeddings)
        assert msgspec.json.decode(handwritten.bodies[0])["input"] == [[1, 2], [3]]
    else:
        assert isinstance(answer, ProviderFailure)
        assert answer.failure is FailureClass.UNSUPPORTED
        assert handwritten.bodies == []


async def test_vectors_are_put_into_the_order_of_the_inputs(handwritten: Handwritten) -> None:
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    handwritten.pieces = [msgspec.json.encode({"data": data})]
    async with pointed_at(handwritten, "openai") as provider:
        answer = await provider.embed(
            of_model("openai", "e"), string_secret(), embedding_request("a", "b")
        )
    assert answer == Embeddings(vectors=[floats(1.0), floats(2.0)], usage=None)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data":null}',
        body([1.0]),
        body([1.0], [2.0], [3.0]),
        body([1.0], []),
        body([1.0], ""),
        body([1.0], "@@@@"),
        body([1.0], "AAA="),
        body([1.0], ["x"]),
        body([1.0], {"a": 1}),
        b'{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}',
        b'{"data":[{"index":1,"embedding":[1]},{"index":2,"embedding":[1]}]}',
        b"\xff\xfe",
    ],
    ids=str,
)
async def test_what_is_no_vector_for_each_input_is_a_failure_of_the_provider(
    handwritten: Handwritten, answer: bytes
) -> None:
    handwritten.pieces = [answer]
    async with pointed_at(handwritten, "openai") as provider:
        failed = await provider.embed(
            of_model("openai", "e"), string_secret(), embedding_request("a", "b")
        )
    assert isinstance(failed, ProviderFailure)
    assert failed.failure is FailureClass.PROVIDER_ERROR


@pytest.mark.parametrize("told", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": -1}])
async def test_usage_that_is_not_told_is_none(handwritten: Handwritten, told: Any) -> None:
    handwritten.pieces = [body([1.0], usage=told)]
    async with pointed_at(handwritten, "openai") as provider:
        answer = await provider.embed(
            of_model("openai", "e"), string_secret(), embedding_request("a")
        )
    assert answer == Embeddings(vectors=[pack_base64(1.0)], usage=None)


def pack_base64(value: float) -> str:
    """Written another way than the adapters do it."""
    encoded: str = msgspec.json.decode(msgspec.json.encode(pack("<f", value)))
    return encoded


# --- Azure ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (
            "openai",
            (
                "https://my-res.openai.azure.com/openai/deployments/e%2F1/embeddings"
                "?api-version=2025-04-01-preview"
            ),
        ),
        (
            "ai_foundry",
            "https://my-res.services.ai.azure.com/models/embeddings?api-version=2024-05-01-preview",
        ),
    ],
)
def test_a_resource_embeds_at_the_host_of_its_name(kind: AzureResourceType, url: str) -> None:
    resource = AzureResourceSecret(resource_name="my-res", resource_type=kind, api_key="k")
    assert resource_url(resource, "e/1", base_url=None, operation=EMBEDDINGS) == url


def test_a_deployment_embeds_where_it_would_chat_but_for_the_ending() -> None:
    url = "https://r.services.ai.azure.com/deployments/e/chat/completions?api-version=2024-10-21"
    assert embeddings_url(url) == (
        "https://r.services.ai.azure.com/deployments/e/embeddings?api-version=2024-10-21"
    )


async def test_a_foundry_resource_is_told_what_cohere_s_words_mean(
    handwritten: Handwritten,
) -> None:
    handwritten.pieces = [body([1.0])]
    at = of_model("azure", "embed-v-4-0", "cohere", resource="res")
    secret = azure_resource_secret("ai_foundry")
    asked = embedding_request("a", input_type="search_document", dimensions=256, user="me")
    async with pointed_at(handwritten, "azure") as azure:
        assert isinstance(await azure.embed(at, secret, asked), Embeddings)
        told = msgspec.json.decode(handwritten.bodies[0])
        assert told == {
            "model": "embed-v-4-0",
            "input": ["a"],
            "encoding_format": "float",
            "dimensions": 256,
            "input_type": "document",
        }
        assert handwritten.headers[0]["extra-parameters"] == "drop"
        odd = await azure.embed(at, secret, embedding_request("a", input_type="clustering"))
    assert isinstance(odd, ProviderFailure)
    assert odd.failure is FailureClass.UNSUPPORTED
    assert odd.raw == "input_type: must be search_query or search_document"


async def test_a_deployment_that_embeds_is_proved_by_an_embedding(
    providers: Mapping[str, Provider], simulator: Simulator
) -> None:
    model = "text-embedding-3-small"
    url = simulator.url + DEPLOYMENT_URL.format(model=model)
    at = of_model("azure", model, "openai")
    azure = providers["azure"]
    good = azure_secret(url, "azure-0123-ok-9876", model=f"openai/{model}", model_id=model)
    assert await azure.check(at, good) is None
    chat, embedding = simulator.calls.since()
    assert (chat.operation, chat.status) == ("chat", 400)
    assert (embedding.operation, embedding.status) == ("embeddings", 200)
    bad = azure_secret(url, "azure-0123-429-9876", model=f"openai/{model}", model_id=model)
    found = await azure.check(at, bad)
    assert found is not None
    assert found.failure is FailureClass.RATE_LIMITED


async def test_a_deployment_of_a_chat_model_says_that_it_does_not_embed(
    providers: Mapping[str, Provider], simulator: Simulator
) -> None:
    url = simulator.url + DEPLOYMENT_URL.format(model="gpt-4o")
    found = await providers["azure"].embed(
        attempt("azure"), azure_secret(url), embedding_request("a")
    )
    assert isinstance(found, ProviderFailure)
    assert (found.failure, found.code) == (FailureClass.MISCONFIGURED, "OperationNotSupported")


# --- Bedrock and Vertex --------------------------------------------------------------------------


async def test_bedrock_takes_a_signature_as_well_as_a_key(
    every_provider: Mapping[str, Provider], simulator: Simulator
) -> None:
    key = "AKIASIMULATOR000001"
    secret = AwsSecret(access_key_id=key, secret_access_key=secret_of(key), region="eu-west-1")
    at = of_model("amazon-bedrock", "cohere.embed-v4:0", inference_profiles=("us", "eu", "global"))
    answer = await every_provider["amazon-bedrock"].embed(
        at, secret, embedding_request("a b", dimensions=256, input_type="search_query")
    )
    (call,) = simulator.calls.since()
    assert answer == Embeddings(
        vectors=[as_base64(vector("a b", 256))],
        usage=Usage(prompt_tokens=2, completion_tokens=0),
        upstream_id=call.id,
    )
    assert (call.credential, call.model) == (key, "cohere.embed-v4:0")


@pytest.mark.parametrize(
    ("slug", "model", "fields", "raw"),
    [
        ("amazon-bedrock", "amazon.titan-embed-text-v1", {"dimensions": 256}, "dimensions"),
        ("amazon-bedrock", "amazon.titan-embed-text-v2:0", {"input_type": "x"}, "input_type"),
        ("amazon-bedrock", "cohere.embed-english-v3", {"dimensions": 256}, "dimensions"),
        ("amazon-bedrock", "cohere.embed-v4:0", {"input_type": "x"}, "input_type: must be one of"),
        ("google-vertex", "gemini-embedding-001", {"input_type": "x"}, "input_type: must be one"),
    ],
)
async def test_what_a_model_does_not_take_is_refused_to_who_insists(
    every_provider: Mapping[str, Provider],
    simulator: Simulator,
    slug: str,
    model: str,
    fields: dict[str, Any],
    raw: str,
) -> None:
    wire = wire_of(slug, every_provider, simulator)
    found = await wire.embed("a", model=model, provider={"require_parameters": True}, **fields)
    assert isinstance(found, ProviderFailure)
    assert found.failure is FailureClass.UNSUPPORTED
    assert raw in (found.raw or "")
    assert simulator.calls.since() == []


@pytest.mark.parametrize("slug", ["amazon-bedrock", "google-vertex"])
async def test_a_wire_of_texts_says_so_of_tokens(
    every_provider: Mapping[str, Provider], simulator: Simulator, slug: str
) -> None:
    found = await wire_of(slug, every_provider, simulator).embed([1, 2, 3])
    assert isinstance(found, ProviderFailure)
    assert found.failure is FailureClass.UNSUPPORTED
    assert (found.raw or "").startswith("input: ")
    assert simulator.calls.since() == []


@pytest.mark.parametrize(
    ("given", "task"),
    [
        (None, None),
        ("search_query", "RETRIEVAL_QUERY"),
        ("search_document", "RETRIEVAL_DOCUMENT"),
        ("semantic_similarity", "SEMANTIC_SIMILARITY"),
        ("CLUSTERING", "CLUSTERING"),
    ],
)
def test_what_vectors_are_for_is_told_vertex_in_its_words(
    given: str | None, task: str | None
) -> None:
    fields = {} if given is None else {"input_type": given}
    asked = embedding_request("a", dimensions=5, **fields)
    assert task_type(asked) == task
    instance = {"content": "a"} if task is None else {"content": "a", "task_type": task}
    assert msgspec.json.decode(write_body(asked, ["a"], task)) == {
        "instances": [instance],
        "parameters": {"autoTruncate": False, "outputDimensionality": 5},
    }


@dataclass(slots=True)
class Broken:
    """Lends itself as a client, and is the body of its own answer."""

    error: Exception
    is_closed: bool = False

    @asynccontextmanager
    async def client(self, _identity: object) -> AsyncIterator["Broken"]:
        yield self

    async def invoke_model(self, **_parts: object) -> dict[str, Any]:
        return {"body": self, "ResponseMetadata": {"HTTPHeaders": {}}}

    async def read(self, _amt: int) -> bytes:
        raise self.error

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ResponseStreamingError(error="reset"), FailureClass.UNREACHABLE),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), FailureClass.UNREACHABLE),
        (ClientPayloadError("cut"), FailureClass.UNREACHABLE),
        (TimeoutError(), FailureClass.TIMED_OUT),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each),
)
async def test_an_answer_of_bedrock_that_breaks_off_is_a_failure_of_the_connection(
    error: Exception, failure: FailureClass
) -> None:
    lends = Broken(error)
    bedrock = Bedrock(lends, SystemClock())  # type: ignore[arg-type] # it lends nothing real
    found = await bedrock.embed(
        of_model("amazon-bedrock", "amazon.titan-embed-text-v1"),
        BedrockApiKeySecret(api_key="ABSKtest", region="us-east-1"),
        embedding_request("a"),
    )
    assert isinstance(found, ProviderFailure)
    assert found.failure is failure
    assert lends.is_closed


async def test_a_model_that_chats_embeds_nowhere(
    every_provider: Mapping[str, Provider], simulator: Simulator
) -> None:
    wire = wire_of("amazon-bedrock", every_provider, simulator)
    found = await wire.embed("a", model="anthropic.claude-haiku-4-5-20251001-v1:0")
    assert isinstance(found, ProviderFailure)
    assert found.code == "no_embeddings"


async def test_an_answer_beyond_the_limit_is_not_read_to_its_end(
    every_provider: Mapping[str, Provider], simulator: Simulator
) -> None:
    for slug in ("openai", "amazon-bedrock", "google-vertex"):
        found = await wire_of(slug, every_provider, simulator).embed("a", marker="huge")
        assert isinstance(found, ProviderFailure), slug
        assert found.code == "answer_too_large", slug
