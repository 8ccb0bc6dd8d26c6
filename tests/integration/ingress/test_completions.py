"""Completions through the running ingress, with a dispatcher that follows a script."""

import asyncio
import io
import json
from typing import Any

import aiohttp
import pytest
from openai import APIStatusError, AsyncOpenAI

from shared.events.replies import (
    AttemptSummary,
    Choice,
    Message,
    ReplyCompleted,
    ReplyDelta,
    ReplyFailed,
    ReplyStarted,
    ReplyUsage,
)
from tests.integration.ingress.conftest import MODEL, World
from tests.integration.ingress.scripted_dispatcher import Run, generation_of, never_answers
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
USAGE = ReplyUsage(
    prompt_tokens=11,
    completion_tokens=3,
    cost_nano_usd=0,
    is_byok=True,
    list_cost_nano_usd=57_500,
    list_prompt_cost_nano_usd=27_500,
    list_completion_cost_nano_usd=30_000,
)
ATTEMPT = AttemptSummary(
    provider="openai",
    model=MODEL,
    endpoint="openai/gpt-4o",
    status=200,
    credential_id=None,
    tier="prioritized",
)
STARTED = ReplyStarted(model=MODEL, provider_name="OpenAI", created=1_700_000_000)


def completed(*choices: Choice) -> ReplyCompleted:
    return ReplyCompleted(
        model=MODEL,
        provider_name="OpenAI",
        created=1_700_000_000,
        choices=list(choices),
        usage=USAGE,
        attempts=(ATTEMPT,),
    )


def said(text: str, *, finish: bool = False) -> ReplyDelta:
    return ReplyDelta(
        choices=[Choice(message=Message(content=text), finish_reason="stop" if finish else None)]
    )


async def answers(run: Run) -> None:
    if not run.body.get("stream"):
        choice = Choice(message=Message(role="assistant", content="Hello"), finish_reason="stop")
        await run.send(completed(choice), last=True)
        return
    await run.send(STARTED, said("Hel"))
    await run.send(said("lo"), said("", finish=True))
    await run.send(completed(), last=True)


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line.startswith((":", "[")) else json.loads(line) for line in lines]


async def test_a_completion_comes_back_as_openrouter_writes_it(world: World) -> None:
    world.dispatcher.script = answers
    async with world.http.post(
        f"{world.base_url}/chat/completions",
        json=BODY,
        headers={**world.account.headers, "X-OpenRouter-Metadata": "enabled"},
    ) as response:
        body = await response.json()
    assert response.status == 200, body
    assert body["id"] == generation_of(response.headers)
    assert body["object"] == "chat.completion"
    assert body["provider"] == "OpenAI"
    assert body["system_fingerprint"] is None
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello"},
            "finish_reason": "stop",
            "native_finish_reason": "stop",
        }
    ]
    assert body["usage"]["cost"] == 0
    assert body["usage"]["is_byok"] is True
    assert body["usage"]["cost_details"]["upstream_inference_cost"] == 0.0000575
    assert body["openrouter_metadata"]["attempts"][0]["tier"] == "prioritized"


async def test_the_client_s_own_bytes_reach_the_dispatcher(world: World) -> None:
    bodies: list[dict[str, Any]] = []

    async def script(run: Run) -> None:
        bodies.append(run.body)
        await answers(run)

    world.dispatcher.script = script
    sent = {**BODY, "unknown": {"a": [1, 2.5, None]}, "temperature": 0.5, "user": "ada"}
    headers = {**world.account.headers, "X-Session-Id": "s-1"}
    async with world.http.post(
        f"{world.base_url}/chat/completions", json=sent, headers=headers
    ) as response:
        assert response.status == 200
    assert bodies == [sent]
    request = world.dispatcher.requests[-1]
    assert request.account_id == world.account.account_id
    assert (request.start_by - request.received_at).total_seconds() == 15
    assert request.origin is not None
    assert request.origin.user_agent is not None
    assert (request.origin.external_user, request.origin.session_id) == ("ada", "s-1")


async def test_beta_features_of_anthropic_reach_the_dispatcher_or_are_refused(world: World) -> None:
    world.dispatcher.script = answers

    async def ask(named: str) -> int:
        headers = {**world.account.headers, "X-Anthropic-Beta": named}
        url = f"{world.base_url}/chat/completions"
        async with world.http.post(url, json=BODY, headers=headers) as response:
            return response.status

    assert await ask("context-1m-2025-08-07, claude-code-20250219") == 200
    betas = world.dispatcher.requests[-1].anthropic_betas
    assert betas == ("context-1m-2025-08-07", "claude-code-20250219")
    asked = len(world.dispatcher.requests)
    assert await ask("x-api-key: another") == 400
    assert len(world.dispatcher.requests) == asked


async def test_a_large_body_passes_and_a_larger_one_is_refused(world: World) -> None:
    sizes: list[int] = []

    async def script(run: Run) -> None:
        sizes.append(len(run.body["messages"][0]["content"]))
        await answers(run)

    world.dispatcher.script = script
    size = 20 * 1024 * 1024 - 1000
    for content, status in (("x" * size, 200), ("x" * (size + 2000), 413)):
        body = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
        async with world.http.post(
            f"{world.base_url}/chat/completions",
            data=io.BytesIO(json.dumps(body).encode()),
            headers=world.account.headers,
        ) as response:
            assert response.status == status, await response.text()
            if status == 413:
                assert (await response.json())["error"]["code"] == 413
    assert sizes == [size]


async def test_a_stream_has_deltas_then_usage_once_then_done(world: World) -> None:
    world.dispatcher.script = answers
    async with world.http.post(
        f"{world.base_url}/chat/completions",
        json={**BODY, "stream": True},
        headers=world.account.headers,
    ) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        found = events(await response.text())
    generation_id = generation_of(response.headers)
    assert found[-1] == "[DONE]"
    chunks = found[:-1]
    assert {chunk["id"] for chunk in chunks} == {generation_id}
    assert all("system_fingerprint" not in chunk for chunk in chunks)
    assert ["usage" in chunk for chunk in chunks] == [False, False, False, True]
    assert chunks[-1]["choices"] == []
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hel"}
    assert chunks[2]["choices"][0]["finish_reason"] == "stop"


async def test_the_official_client_reads_both(world: World) -> None:
    world.dispatcher.script = answers
    async with AsyncOpenAI(base_url=world.base_url, api_key=world.account.api_key) as client:
        whole = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}]
        )
        assert whole.choices[0].message.content == "Hello"
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        text, usage = "", None
        async for chunk in stream:
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            usage = chunk.usage or usage
        assert text == "Hello"
        assert usage is not None
        assert usage.total_tokens == 14


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failure_before_the_first_token_is_a_real_status(
    world: World, *, streamed: bool
) -> None:
    failed = ReplyFailed(
        status=429,
        message="Provider returned error",
        error_type="rate_limit_exceeded",
        provider_name="OpenAI",
        raw="slow down",
        retry_after_seconds=7,
        attempts=(ATTEMPT,),
    )

    async def script(run: Run) -> None:
        await run.send(failed, last=True)

    world.dispatcher.script = script
    async with world.http.post(
        f"{world.base_url}/chat/completions",
        json={**BODY, "stream": streamed},
        headers=world.account.headers,
    ) as response:
        body = await response.json()
    assert response.status == 429
    assert response.headers["Retry-After"] == "7"
    assert body["error"]["code"] == 429
    assert body["error"]["metadata"] == {
        "error_type": "rate_limit_exceeded",
        "provider_name": "OpenAI",
        "raw": "slow down",
    }
    assert world.dispatcher.cancellations_of(generation_of(response.headers)) == []


async def test_an_answer_whose_fact_is_uncertain_is_taken_back_by_the_ingress_too(
    world: World,
) -> None:
    async def script(run: Run) -> None:
        await run.send(
            ReplyFailed(status=503, message="later", error_type="server", abandon=True), last=True
        )

    world.dispatcher.script = script
    async with world.http.post(
        f"{world.base_url}/chat/completions", json=BODY, headers=world.account.headers
    ) as response:
        assert response.status == 503
        generation_id = generation_of(response.headers)
    await wait_until(
        lambda: world.dispatcher.abandonments_of(generation_id) == ["fact_not_acknowledged"]
    )


async def test_a_failure_after_the_first_token_is_an_error_chunk(world: World) -> None:
    async def script(run: Run) -> None:
        await run.send(STARTED, said("Hel"))
        await run.send(
            ReplyFailed(status=502, message="cut", error_type="provider_unavailable"), last=True
        )

    world.dispatcher.script = script
    async with world.http.post(
        f"{world.base_url}/chat/completions",
        json={**BODY, "stream": True},
        headers=world.account.headers,
    ) as response:
        assert response.status == 200
        found = events(await response.text())
    error = found[-2]
    assert error["error"]["code"] == 502
    assert error["choices"][0]["finish_reason"] == "error"
    assert error["choices"][0]["delta"] == {"content": ""}


async def test_a_stream_that_waits_is_kept_alive_by_comments(world: World) -> None:
    gate = asyncio.Event()

    async def script(run: Run) -> None:
        for _ in range(8):
            await run.say_alive()
            try:
                async with asyncio.timeout(1):
                    await gate.wait()
                break
            except TimeoutError:
                continue
        await answers(run)

    world.dispatcher.script = script
    async with world.http.post(
        f"{world.base_url}/chat/completions",
        json={**BODY, "stream": True},
        headers=world.account.headers,
    ) as response:
        first = await response.content.readline()
        assert first == b": OPENROUTER PROCESSING\n"
        gate.set()
        rest = (await response.read()).decode()
    assert rest.strip().endswith("data: [DONE]")


async def test_a_client_that_leaves_cancels_its_generation(world: World) -> None:
    async def script(run: Run) -> None:
        await run.send(STARTED, said("Hel"))

    world.dispatcher.script = script
    response = await world.http.post(
        f"{world.base_url}/chat/completions",
        json={**BODY, "stream": True},
        headers=world.account.headers,
    )
    await response.content.readline()
    generation_id = generation_of(response.headers)
    response.close()
    await wait_until(
        lambda: world.dispatcher.cancellations_of(generation_id) == ["client_gone"],
        deadline_seconds=5,
    )
    assert world.dispatcher.abandonments_of(generation_id) == []
    assert len(world.ingress.waiting) == 0


async def test_a_client_that_leaves_before_any_answer_cancels_too(world: World) -> None:
    world.dispatcher.script = never_answers
    before = len(world.dispatcher.requests)
    with pytest.raises(TimeoutError):
        async with (
            asyncio.timeout(1),
            world.http.post(
                f"{world.base_url}/chat/completions", json=BODY, headers=world.account.headers
            ),
        ):
            pass
    generation_id = world.dispatcher.requests[before].generation_id
    await wait_until(
        lambda: world.dispatcher.cancellations_of(generation_id) == ["client_gone"],
        deadline_seconds=5,
    )


async def test_a_rival_run_is_cancelled_and_the_first_one_answers(world: World) -> None:
    runs: list[Run] = []

    async def script(run: Run) -> None:
        rival = run.rival()
        runs.append(rival)
        await run.send(STARTED, said("Hel"))
        await rival.send(STARTED, said("wrong"))
        await run.send(said("lo"), said("", finish=True))
        await rival.send(completed(), last=True)
        await run.send(completed(), last=True)

    world.dispatcher.script = script
    async with world.http.post(
        f"{world.base_url}/chat/completions",
        json={**BODY, "stream": True},
        headers=world.account.headers,
    ) as response:
        found = events(await response.text())
    text = "".join(
        chunk["choices"][0]["delta"].get("content", "") for chunk in found[:-1] if chunk["choices"]
    )
    assert text == "Hello"
    generation_id = generation_of(response.headers)
    await wait_until(
        lambda: world.dispatcher.cancellations_of(generation_id) == ["rival_run"],
        deadline_seconds=5,
    )
    cancelled = [e for e in world.dispatcher.cancelled if e.generation_id == generation_id]
    assert cancelled[0].run_id == runs[0].run_id


async def test_a_missing_frame_is_our_fault_and_not_charged(world: World) -> None:
    async def script(run: Run) -> None:
        await run.send(STARTED, said("Hel"))
        await run.send(said("lo"), skip=1)

    world.dispatcher.script = script
    async with world.http.post(
        f"{world.base_url}/chat/completions",
        json={**BODY, "stream": True},
        headers=world.account.headers,
    ) as response:
        found = events(await response.text())
    assert found[-2]["error"]["code"] == 500
    generation_id = generation_of(response.headers)
    await wait_until(
        lambda: world.dispatcher.abandonments_of(generation_id) == ["frame_missing"],
        deadline_seconds=10,
    )
    assert world.dispatcher.cancellations_of(generation_id) == ["abandoned"]


async def test_a_dispatcher_that_falls_silent_is_a_503_to_be_tried_again(world: World) -> None:
    async def script(run: Run) -> None:
        await run.say_alive()

    world.dispatcher.script = script
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with world.http.post(
        f"{world.base_url}/chat/completions", json=BODY, headers=world.account.headers
    ) as response:
        body = await response.json()
    assert response.status == 503
    assert "Retry-After" in response.headers
    assert body["error"]["code"] == 503
    assert 4.5 < loop.time() - started < 9
    generation_id = generation_of(response.headers)
    await wait_until(
        lambda: world.dispatcher.abandonments_of(generation_id) == ["dispatcher_lost"],
        deadline_seconds=10,
    )


async def test_more_requests_than_an_account_may_run_are_told_429(world: World) -> None:
    gate = asyncio.Event()

    async def script(run: Run) -> None:
        await run.say_alive()
        async with asyncio.timeout(4):
            await gate.wait()
        await answers(run)

    world.dispatcher.script = script
    url = f"{world.base_url}/chat/completions"

    async def ask() -> int:
        async with world.http.post(url, json=BODY, headers=world.account.headers) as response:
            return response.status

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(ask()) for _ in range(8)]
        await wait_until(lambda: len(world.ingress.waiting) == 8, deadline_seconds=5)
        async with world.http.post(url, json=BODY, headers=world.account.headers) as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "1"
        gate.set()
    assert [task.result() for task in running] == [200] * 8


async def test_an_error_reaches_the_official_client_with_its_words(world: World) -> None:
    async with AsyncOpenAI(
        base_url=world.base_url, api_key=world.account.api_key, max_retries=0
    ) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.chat.completions.create(
                model="openai/gpt-4oo", messages=[{"role": "user", "content": "hi"}]
            )
    assert caught.value.status_code == 400
    assert MODEL in str(caught.value)


async def test_the_process_beats_once_a_second(world: World) -> None:
    before = len(world.dispatcher.beats)
    await wait_until(lambda: len(world.dispatcher.beats) >= before + 2, deadline_seconds=4)
    assert isinstance(world.http, aiohttp.ClientSession)
