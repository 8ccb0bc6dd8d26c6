"""Whole answers, as OpenAI's own client reads them on both wires."""

from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.contract.simulator.conftest import AzureClients, OpenAIClients
from tests.simulator import usage
from tests.simulator.app import Simulator
from tests.simulator.scripts import CachedTokens, EmptyCompletion, MissingUsage, Ok, Script

QUESTION = "Count for me, words=20 please"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            },
        },
    }
]


@pytest.fixture(params=["openai", "azure"])
def client(
    request: pytest.FixtureRequest, openai_client: OpenAIClients, azure_client: AzureClients
) -> AsyncOpenAI:
    return openai_client("sk-plain") if request.param == "openai" else azure_client("a1" * 16)


async def test_a_plain_answer_has_the_text_and_the_usage_that_the_arithmetic_gives(
    client: AsyncOpenAI, simulator: Simulator
) -> None:
    answer = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == usage.answer_text(20)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == usage.prompt_tokens(MESSAGES) == 8
    assert answer.usage.completion_tokens == usage.completion_tokens(MESSAGES, None) == 20
    assert answer.usage.total_tokens == 28
    [call] = simulator.calls.since()
    assert (call.id, call.outcome, call.usage_told) == (answer.id, "completed", True)


async def test_a_limit_on_tokens_shortens_the_answer(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, max_tokens=4)

    assert answer.choices[0].message.content == usage.answer_text(4)
    assert answer.choices[0].finish_reason == "length"


async def test_a_stream_gives_role_words_finish_and_usage_in_this_order(
    client: AsyncOpenAI,
) -> None:
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    # Azure's first chunk is about the prompt alone; its object is empty.
    chunks = [chunk async for chunk in stream if len(chunk.object)]

    with_choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert with_choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in with_choices) == usage.answer_text(20)
    assert [choice.finish_reason for choice in with_choices] == [None] * 21 + ["stop"]
    assert [chunk.usage is None for chunk in chunks] == [True] * 22 + [False]
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20


async def test_a_stream_without_include_usage_says_nothing_of_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)

    chunks = [chunk async for chunk in stream]
    assert chunks
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


async def test_a_request_to_use_the_tool_is_answered_by_a_tool_call(client: AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Please use the tool"}]
    answer = await client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)

    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == usage.TOOL_CALL_TOKENS
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "weather"
    assert calls[0].function.arguments == '{"city":"amber","days":1}'

    result: Any = [
        *messages,
        {"role": "assistant", "tool_calls": [calls[0].model_dump()]},
        {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"},
    ]
    final = await client.chat.completions.create(model="gpt-4o", messages=result, tools=TOOLS)
    assert final.choices[0].message.content == usage.answer_text(usage.WORDS_DEFAULT)


async def test_a_streamed_tool_call_comes_in_pieces(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "use the tool"}],
        tools=TOOLS,
        stream=True,
    )
    choices = [chunk.choices[0] async for chunk in stream if chunk.choices]
    pieces = [choice.delta.tool_calls[0] for choice in choices if choice.delta.tool_calls]

    assert pieces[0].function is not None
    assert pieces[0].function.name == "weather"
    arguments = [piece.function.arguments or "" for piece in pieces if piece.function]
    assert "".join(arguments) == '{"city":"amber","days":1}'
    assert len(arguments) > 2
    assert choices[-1].finish_reason == "tool_calls"


async def test_paced_chunks_and_a_scripted_pause_still_make_the_whole_answer(
    simulator: Simulator, openai_client: OpenAIClients
) -> None:
    simulator.scripts.put("sk-paced", Script([Ok(pause_ms=1)]))
    for key, text in (("sk-paced", "hello"), ("sk-plain", "hello pause_ms=1")):
        stream = await openai_client(key).chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": text}], stream=True
        )
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(words) == usage.answer_text(16)


async def test_scripted_usage_is_reported_missing_empty_or_cached(
    simulator: Simulator, openai_client: OpenAIClients
) -> None:
    script = Script([MissingUsage(), EmptyCompletion(), CachedTokens(5)], repeat="loop")
    simulator.scripts.put("sk-odd", script)
    ask = openai_client("sk-odd").chat.completions.create
    silent = await ask(model="gpt-4o", messages=MESSAGES)
    empty = await ask(model="gpt-4o", messages=MESSAGES)
    cached = await ask(model="gpt-4o", messages=MESSAGES)

    assert silent.usage is None
    assert (empty.choices[0].message.content, empty.choices[0].finish_reason) == ("", "stop")
    assert empty.usage is not None
    assert empty.usage.completion_tokens == 0
    assert cached.usage is not None
    assert cached.usage.prompt_tokens_details is not None
    assert cached.usage.prompt_tokens_details.cached_tokens == 5
    told = [call.usage_told for call in simulator.calls.since()]
    assert told == [False, True, True]


async def test_azure_begins_a_stream_with_the_filter_results_of_the_prompt(
    azure_client: AzureClients,
) -> None:
    stream = await azure_client("azure-key").chat.completions.create(
        model="gpt-4o-async-filter", messages=MESSAGES, stream=True
    )
    chunks = [chunk.model_dump() async for chunk in stream]

    assert (chunks[0]["id"], chunks[0]["choices"]) == ("", [])
    assert chunks[0]["prompt_filter_results"][0]["prompt_index"] == 0
    assert chunks[2]["choices"][0]["content_filter_results"]["hate"]["severity"] == "safe"
    assert chunks[-1]["choices"][0].get("delta") is None


async def test_the_models_can_be_listed(openai_client: OpenAIClients) -> None:
    models = await openai_client("sk-plain").models.list()

    assert "gpt-4o-mini" in {model.id for model in models.data}
