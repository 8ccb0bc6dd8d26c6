"""Embeddings of the simulator, as the official clients read them."""

import asyncio
import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from openai import APIStatusError, AsyncOpenAI

from tests.contract.simulator.conftest import AzureClients, OpenAIClients
from tests.simulator.app import Simulator
from tests.simulator.bedrock_auth import secret_of
from tests.simulator.embeddings import vector

MODEL = "text-embedding-3-small"
KEY = "AKIASIMULATOR000001"


@pytest.fixture(params=["openai", "azure"])
def client(
    request: pytest.FixtureRequest, openai_client: OpenAIClients, azure_client: AzureClients
) -> AsyncOpenAI:
    return openai_client("sk-plain") if request.param == "openai" else azure_client("a1" * 16)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_a_vector_comes_for_each_input(
    client: AsyncOpenAI, simulator: Simulator, encoding: Any
) -> None:
    fields = {} if encoding is None else {"encoding_format": encoding}
    answer = await client.embeddings.create(
        model=MODEL, input=["one two", "three"], dimensions=8, user="me", **fields
    )
    assert [each.index for each in answer.data] == [0, 1]
    wanted = [vector("one two", 8), vector("three", 8)]
    if encoding == "base64":  # which the client hands on as it is, when it is asked for
        assert all(isinstance(each.embedding, str) for each in answer.data)
    else:
        assert [each.embedding for each in answer.data] == wanted
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (3, 3)
    [call] = simulator.calls.since()
    assert (call.operation, call.outcome, call.model) == ("embeddings", "completed", MODEL)


async def test_tokens_are_taken(client: AsyncOpenAI) -> None:
    one = await client.embeddings.create(model=MODEL, input=[1, 2, 3])
    two = await client.embeddings.create(model=MODEL, input=[[1, 2, 3], [4]])
    assert len(one.data) == 1
    assert [each.embedding[:8] for each in two.data] == [
        vector([1, 2, 3], 1536)[:8],
        vector([4], 1536)[:8],
    ]
    assert two.usage.prompt_tokens == 4


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a"] * 2049}, "array too long"),
        ({"extra_body": {"input_type": "search_query"}}, "Unrecognized request argument"),
        ({"extra_body": {"dimensions": "8"}}, "is invalid"),
    ],
)
async def test_what_the_service_refuses_is_refused(
    client: AsyncOpenAI, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(APIStatusError, match=words) as refused:
        await client.embeddings.create(**{"model": MODEL, "input": "a", **fields})
    assert refused.value.status_code == 400


async def test_neither_operation_takes_the_others_models(
    openai_client: OpenAIClients, azure_client: AzureClients
) -> None:
    messages: Any = [{"role": "user", "content": "hi"}]
    with pytest.raises(APIStatusError, match="not allowed to generate embeddings"):
        await openai_client("sk-plain").embeddings.create(model="gpt-4o", input="a")
    azure = azure_client("a1" * 16)
    with pytest.raises(APIStatusError, match="embeddings operation does not work"):
        await azure.embeddings.create(model="gpt-4o", input="a")
    with pytest.raises(APIStatusError, match="chatCompletion operation does not work"):
        await azure.chat.completions.create(model=MODEL, messages=messages)


async def _invoke(simulator: Simulator, model: str, body: dict[str, Any], key: str = KEY) -> Any:
    """boto3 blocks, so it asks from a thread."""

    def asked() -> Any:
        client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=f"{simulator.url}/bedrock/us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret_of(key),
            config=Config(retries={"total_max_attempts": 1}, signature_version="v4"),
        )
        try:
            answer = client.invoke_model(modelId=model, body=json.dumps(body))
            tokens = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"]
            return json.loads(answer["body"].read()), int(tokens)
        finally:
            client.close()

    return await asyncio.to_thread(asked)


async def test_boto3_invokes_titan_and_cohere(simulator: Simulator) -> None:
    asked = {"inputText": "one two", "dimensions": 256, "normalize": True}
    body, tokens = await _invoke(simulator, "amazon.titan-embed-text-v2:0", asked)
    assert body["embedding"] == vector("one two", 256)
    assert body["inputTextTokenCount"] == tokens == 2
    texts: dict[str, Any] = {"texts": ["one two", "three"], "input_type": "search_query"}
    body, tokens = await _invoke(simulator, "us.cohere.embed-v4:0", texts)
    assert body["embeddings"]["float"] == [vector("one two", 1024), vector("three", 1024)]
    assert (body["response_type"], tokens) == ("embeddings_by_type", 3)


@pytest.mark.parametrize(
    ("model", "body", "words"),
    [
        ("amazon.titan-embed-text-v2:0", {"inputText": ["a"]}, "Malformed input request"),
        ("amazon.titan-embed-text-v2:0", {"inputText": "a", "dimensions": 300}, "not a valid enum"),
        ("amazon.titan-embed-text-v1", {"inputText": "a", "dimensions": 256}, "unknown field"),
        ("cohere.embed-v4:0", {"texts": ["a"]}, "input_type"),
        (
            "cohere.embed-english-v3",
            {"texts": ["a"] * 97, "input_type": "search_query"},
            "at most 96",
        ),
        (
            "cohere.embed-english-v3",
            {"texts": ["a"], "input_type": "clustering", "output_dimension": 256},
            "unknown field",
        ),
        ("amazon.nova-micro-v1:0", {"inputText": "a"}, "not supported by this model"),
    ],
)
async def test_invoke_model_is_strict(
    simulator: Simulator, model: str, body: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words):
        await _invoke(simulator, model, body)


async def test_a_key_that_is_not_known_invokes_nothing(simulator: Simulator) -> None:
    with pytest.raises(ClientError, match="security token"):
        await _invoke(
            simulator, "amazon.titan-embed-text-v1", {"inputText": "a"}, key="AKIA-invalid-1"
        )
