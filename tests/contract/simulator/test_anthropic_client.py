"""The simulator as Anthropic's own client reads it, and as strict as Anthropic is."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from anthropic import (
    APIStatusError,
    AsyncAnthropic,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OverloadedError,
    RateLimitError,
    omit,
)
from anthropic.types import TextBlock, ThinkingBlock, ToolUseBlock

from tests.simulator import usage
from tests.simulator.anthropic_messages import SIGNATURE
from tests.simulator.app import Simulator
from tests.simulator.scripts import CachedTokens, Script

MODEL = "claude-haiku-4-5-20251001"
NEWEST = "claude-opus-5-5"
MESSAGES: Any = [{"role": "user", "content": "Count for me, words=20 please"}]
TOOLS: Any = [
    {
        "name": "weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]

Clients = Callable[[str], AsyncAnthropic]


@pytest.fixture
async def anthropic_client(simulator: Simulator) -> AsyncIterator[Clients]:
    opened: list[AsyncAnthropic] = []

    def make(api_key: str) -> AsyncAnthropic:
        client = AsyncAnthropic(api_key=api_key, base_url=simulator.url, max_retries=0, timeout=10)
        opened.append(client)
        return client

    yield make
    for client in opened:
        await client.close()


@pytest.fixture
def client(anthropic_client: Clients) -> AsyncAnthropic:
    return anthropic_client("sk-ant-plain")


async def test_a_plain_answer_has_text_and_usage(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    answer = await client.messages.create(model=MODEL, max_tokens=100, messages=MESSAGES)

    (block,) = answer.content
    assert isinstance(block, TextBlock)
    assert block.text == usage.answer_text(20)
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (8, 20)
    [call] = simulator.calls.since()
    assert (call.id, call.outcome, call.wire) == (answer.id, "completed", "anthropic")


async def test_counts_of_the_cache_stand_apart(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    simulator.scripts.put("sk-ant-plain", Script([CachedTokens(tokens=5, written=2)]))
    told = (await client.messages.create(model=MODEL, max_tokens=9, messages=MESSAGES)).usage
    assert (told.input_tokens, told.cache_read_input_tokens) == (1, 5)
    assert told.cache_creation_input_tokens == 2


async def test_a_stream_is_put_together_by_the_client(client: AsyncAnthropic) -> None:
    async with client.messages.stream(
        model=MODEL,
        max_tokens=4000,
        messages=[{"role": "user", "content": "use the tool"}],
        tools=TOOLS,
        thinking={"type": "enabled", "budget_tokens": 2000},
    ) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_message()

    assert {"message_start", "content_block_delta", "message_delta", "message_stop"} <= kinds
    thought, call = final.content
    assert isinstance(thought, ThinkingBlock)
    assert (thought.thinking, thought.signature) == (usage.THOUGHT, SIGNATURE)
    assert isinstance(call, ToolUseBlock)
    assert (call.name, call.input) == ("weather", {"city": "amber"})
    assert final.stop_reason == "tool_use"
    assert final.usage.output_tokens == usage.TOOL_CALL_TOKENS + 3
    assert final.usage.output_tokens_details is not None
    assert final.usage.output_tokens_details.thinking_tokens == 3


async def test_a_tool_is_called_and_its_answer_taken(client: AsyncAnthropic) -> None:
    asked: Any = [{"role": "user", "content": "use the tool"}]
    first = await client.messages.create(model=MODEL, max_tokens=9, messages=asked, tools=TOOLS)
    (call,) = first.content
    assert isinstance(call, ToolUseBlock)
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    final = await client.messages.create(
        model=MODEL,
        max_tokens=99,
        tools=TOOLS,
        messages=[
            *asked,
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ],
    )
    assert isinstance(final.content[0], TextBlock)


async def test_the_models_can_be_listed(client: AsyncAnthropic) -> None:
    assert MODEL in {model.id async for model in client.models.list()}


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        ("sk-ant-invalid", AuthenticationError, "invalid x-api-key"),
        ("sk-ant-429-x", RateLimitError, "rate limit"),
        ("sk-ant-529-x", OverloadedError, "Overloaded"),
        ("sk-ant-quota-x", BadRequestError, "credit balance is too low"),
        ("sk-ant-context-x", BadRequestError, "prompt is too long"),
    ],
)
async def test_refusals_are_the_clients_own_errors(
    anthropic_client: Clients, key: str, error: type[APIStatusError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await anthropic_client(key).messages.create(model=MODEL, max_tokens=9, messages=MESSAGES)


async def test_an_error_event_is_raised_by_the_client(anthropic_client: Clients) -> None:
    stream = await anthropic_client("sk-ant-errorafter-x").messages.create(
        model=MODEL, max_tokens=99, messages=MESSAGES, stream=True
    )
    with pytest.raises(APIStatusError, match="Overloaded"):
        async for _ in stream:
            pass


async def test_a_model_that_is_not_there_is_not_found(client: AsyncAnthropic) -> None:
    with pytest.raises(NotFoundError, match="model: claude-missing"):
        await client.messages.create(model="claude-missing", max_tokens=9, messages=MESSAGES)


_CALL = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
_RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"seed": 1}, "seed: Extra inputs are not permitted"),
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "system", "content": "x"}]}, "Unexpected role"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "first message must use"),
        ({"messages": [{"role": "user", "content": ""}]}, "must be non-empty"),
        (
            {"messages": [*MESSAGES, {"role": "assistant", "content": [_CALL]}, *MESSAGES]},
            "without `tool_result` blocks immediately after",
        ),
        ({"messages": [{"role": "user", "content": [_RESULT]}]}, "unexpected `tool_use_id`"),
        (
            {
                "messages": [
                    *MESSAGES,
                    {
                        "role": "assistant",
                        "content": [{"type": "thinking", "thinking": "x", "signature": "forged"}],
                    },
                    *MESSAGES,
                ]
            },
            "Invalid `signature`",
        ),
        ({"temperature": 1.5}, "temperature"),
        ({"temperature": 0.5, "top_p": 0.5}, "cannot both be specified"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "must be greater than"),
        ({"thinking": {"type": "adaptive"}}, "not supported"),
        ({"output_config": {"effort": "low"}}, "effort"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "additionalProperties",
        ),
        ({"tool_choice": {"type": "any"}}, "while providing `tools`"),
        ({"stop_sequences": [" "]}, "non-whitespace"),
        ({"model": NEWEST, "temperature": 0.5}, "deprecated for this model"),
        ({"model": NEWEST, "thinking": {"type": "disabled"}}, "not supported"),
        ({"model": NEWEST, "tools": TOOLS, "tool_choice": {"type": "any"}}, "forced tool use"),
        (
            {"model": NEWEST, "messages": [*MESSAGES, {"role": "assistant", "content": "x"}]},
            "prefill",
        ),
    ],
)
async def test_what_the_service_refuses_is_refused(
    client: AsyncAnthropic, body: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadRequestError, match=words):
        await client.messages.create(
            model=MODEL,
            max_tokens=1500,
            messages=MESSAGES,
            extra_body=body,
            extra_headers={"anthropic-version": "2023-06-01"},
        )


async def test_the_newest_version_knows_no_sampling(client: AsyncAnthropic) -> None:
    with pytest.raises(BadRequestError, match="temperature: Extra inputs are not permitted"):
        await client.messages.create(
            model=MODEL, max_tokens=9, messages=MESSAGES, extra_body={"temperature": 1}
        )


async def test_a_call_without_a_version_is_refused(client: AsyncAnthropic) -> None:
    with pytest.raises(BadRequestError, match="anthropic-version: header is required"):
        await client.messages.create(
            model=MODEL,
            max_tokens=9,
            messages=MESSAGES,
            extra_headers={"anthropic-version": omit},
        )
