"""Embeddings through the running ingress, with a dispatcher that follows a script."""

import json
from array import array
from base64 import b64encode
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI

from shared.events.replies import (
    AttemptSummary,
    ReplyCompleted,
    ReplyFailed,
    ReplyUsage,
    ReplyVectors,
)
from tests.integration.ingress.conftest import EMBEDDING, MODEL, World
from tests.integration.ingress.scripted_dispatcher import Run, generation_of, never_answers
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY: dict[str, Any] = {"model": EMBEDDING, "input": ["one", "two"]}
ATTEMPT = AttemptSummary(
    provider="openai",
    model=EMBEDDING,
    endpoint="openai/text-embedding-3-small",
    status=200,
    credential_id=None,
    tier="shared",
)
USAGE = ReplyUsage(
    prompt_tokens=11,
    completion_tokens=0,
    cost_nano_usd=220,
    is_byok=False,
    list_cost_nano_usd=220,
    list_prompt_cost_nano_usd=220,
    list_completion_cost_nano_usd=0,
)


def encoded(*values: float) -> str:
    return b64encode(array("f", values).tobytes()).decode()


def completed(*vectors: str) -> ReplyCompleted:
    return ReplyCompleted(
        model=EMBEDDING,
        provider_name="OpenAI",
        created=1_700_000_000,
        choices=[],
        vectors=list(vectors),
        usage=USAGE,
        attempts=(ATTEMPT,),
    )


async def answers(run: Run) -> None:
    await run.send(completed(encoded(0.5, -1.0), encoded(0.25, 2.0)), last=True)


async def post(world: World, body: Any, **headers: str) -> tuple[int, Any, Any]:
    async with world.http.post(
        f"{world.base_url}/embeddings", json=body, headers={**world.account.headers, **headers}
    ) as response:
        return response.status, response.headers, await response.json()


async def test_embeddings_come_back_as_openrouter_writes_them(world: World) -> None:
    bodies: list[Any] = []

    async def script(run: Run) -> None:
        bodies.append((run.event.operation, run.body))
        await answers(run)

    world.dispatcher.script = script
    sent = {**BODY, "dimensions": 2, "unknown": [1, 2.5, None]}
    status, headers, body = await post(world, sent, **{"X-OpenRouter-Metadata": "enabled"})
    assert status == 200, body
    assert bodies == [("embeddings", sent)]
    metadata = body.pop("openrouter_metadata")
    assert metadata["attempts"][0]["tier"] == "shared"
    assert body == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 2.0]},
        ],
        "model": EMBEDDING,
        "provider": "OpenAI",
        "id": generation_of(headers),
        "usage": {
            "prompt_tokens": 11,
            "total_tokens": 11,
            "cost": 0.00000022,
            "is_byok": False,
            "cost_details": {
                "upstream_inference_cost": None,
                "upstream_inference_prompt_cost": 0.00000022,
                "upstream_inference_completions_cost": 0,
            },
        },
    }


@pytest.mark.parametrize("encoding", ["float", None])
async def test_the_official_client_reads_them(world: World, encoding: Any) -> None:
    world.dispatcher.script = answers
    fields = {} if encoding is None else {"encoding_format": encoding}
    async with AsyncOpenAI(
        api_key=world.account.api_key, base_url=world.base_url, max_retries=0
    ) as client:
        answer = await client.embeddings.create(**BODY, **fields)
    assert [each.embedding for each in answer.data] == [[0.5, -1.0], [0.25, 2.0]]
    assert (answer.model, answer.usage.total_tokens) == (EMBEDDING, 11)


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_a_long_answer_comes_in_many_frames_and_whole(world: World, encoding: str) -> None:
    vectors = [encoded(*(float(at) for _ in range(3072))) for at in range(300)]

    async def script(run: Run) -> None:
        for at in range(0, 290, 10):
            await run.send(ReplyVectors(vectors=vectors[at : at + 10]))
        await run.send(completed(*vectors[290:]), last=True)

    world.dispatcher.script = script
    status, headers, body = await post(
        world, {"model": EMBEDDING, "input": ["a"] * 300, "encoding_format": encoding}
    )
    assert status == 200
    assert headers["X-Generation-Id"] == body["id"]
    assert [each["index"] for each in body["data"]] == list(range(300))
    wanted = vectors if encoding == "base64" else [[float(at)] * 3072 for at in range(300)]
    assert [each["embedding"] for each in body["data"]] == wanted
    assert body["usage"]["prompt_tokens"] == 11


async def test_a_failure_is_a_real_status_with_the_provider_s_words(world: World) -> None:
    async def script(run: Run) -> None:
        await run.send(
            ReplyFailed(
                status=429,
                message="OpenAI (your key): rate limit exceeded; try later",
                error_type="rate_limit_exceeded",
                provider_name="OpenAI",
                raw="slow down",
                retry_after_seconds=7,
            ),
            last=True,
        )

    world.dispatcher.script = script
    status, headers, body = await post(world, BODY)
    assert (status, headers["Retry-After"]) == (429, "7")
    assert body["error"]["metadata"]["raw"] == "slow down"


async def test_a_client_that_leaves_cancels_its_embeddings(world: World) -> None:
    world.dispatcher.script = never_answers
    before = len(world.dispatcher.requests)
    async with AsyncOpenAI(
        api_key=world.account.api_key, base_url=world.base_url, max_retries=0, timeout=1.0
    ) as client:
        with pytest.raises(Exception, match="timed out"):
            await client.embeddings.create(**BODY)
    generation_id = world.dispatcher.requests[before].generation_id
    await wait_until(lambda: world.dispatcher.cancellations_of(generation_id) == ["client_gone"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"model": EMBEDDING, "input": []}, "input: must not be empty"),
        ({"model": EMBEDDING, "input": ["a", ""]}, "input[1]: must not be empty"),
        ({"model": EMBEDDING, "input": ["a"] * 2049}, "input: has 2049 inputs"),
        ({"model": EMBEDDING, "input": {"a": 1}}, "input: expected string or array"),
        ({"model": EMBEDDING}, "input: is required"),
        ({"input": "a"}, "model: is required"),
        ({"model": EMBEDDING, "input": "a", "encoding_format": "x"}, "encoding_format: expected"),
        ({"model": MODEL, "input": "a"}, f"model: {MODEL} chats and makes no embeddings"),
        ({"model": "openai/nothing", "input": "a"}, "model: openai/nothing is not a known model"),
    ],
)
async def test_bad_input_is_a_400_that_names_the_field(
    world: World, body: Any, message: str
) -> None:
    before = len(world.dispatcher.requests)
    async with AsyncOpenAI(
        api_key=world.account.api_key, base_url=world.base_url, max_retries=0
    ) as client:
        with pytest.raises(APIStatusError) as refused:
            await client.post("/embeddings", body=body, cast_to=object)
    assert refused.value.status_code == 400
    assert refused.value.response.json()["error"]["message"].startswith(message)
    assert len(world.dispatcher.requests) == before


async def test_a_management_key_embeds_nothing(world: World) -> None:
    status, _, body = await post(
        world, BODY, Authorization=f"Bearer {world.account.management_key}"
    )
    assert (status, body["error"]["code"]) == (403, 403)


async def test_models_that_embed_have_a_list_of_their_own(world: World) -> None:
    async with world.http.get(f"{world.base_url}/embeddings/models") as response:
        page = json.loads(await response.text())
    assert response.status == 200
    [model] = page["data"]
    assert (model["id"], page["total_count"]) == (EMBEDDING, 1)
    assert model["architecture"]["output_modalities"] == ["embeddings"]
    assert model["architecture"]["modality"] == "text->embeddings"
    assert model["pricing"]["completion"] == "0"
