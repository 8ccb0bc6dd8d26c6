"""What comes back, in our terms: nulls left out, reasons normalised, counts inclusive."""

from typing import Any

import msgspec
import pytest

from services.dispatcher.domain.reply import WholeReply
from services.dispatcher.outbound.providers import quirks
from services.dispatcher.outbound.providers.openai_response import (
    decode_completion,
    normalised,
    read_usage,
    read_whole_reply,
)
from services.dispatcher.outbound.providers.quirks import Quirks
from shared.events.replies import Choice, FunctionCall, Message, ReasoningText, ToolCall
from shared.events.usage import Usage


def _reply(message: dict[str, Any], **choice: Any) -> WholeReply | None:
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice]}
    return read_whole_reply(decode_completion(msgspec.json.encode(body)), quirks.OPENAI)


def _message(message: dict[str, Any]) -> Message:
    reply = _reply(message)
    assert reply is not None
    return reply.choices[0].message


def test_nulls_and_empty_lists_are_left_out_of_a_whole_answer() -> None:
    reply = _reply(
        {
            "role": "assistant",
            "content": "hi",
            "refusal": None,
            "annotations": [],
            "tool_calls": None,
            "audio": None,
        },
        logprobs=None,
        content_filter_results={"hate": {"filtered": False}},
    )
    assert reply == WholeReply(
        choices=[
            Choice(
                index=0,
                message=Message(role="assistant", content="hi"),
                finish_reason="stop",
                native_finish_reason="stop",
            )
        ],
        usage=None,
    )
    assert b"null" not in msgspec.json.encode(reply.choices)


def test_log_probabilities_arrive_as_they_were_sent() -> None:
    sent = {"content": [{"token": "hi", "logprob": -0.25, "bytes": [104], "top_logprobs": []}]}
    reply = _reply({"content": "hi"}, logprobs=sent)
    assert reply is not None
    written = msgspec.json.encode(reply.choices[0])
    assert msgspec.json.decode(written, type=Choice).logprobs == sent


def test_annotations_arrive_as_they_were_sent() -> None:
    sent = [{"type": "url_citation", "url_citation": {"url": "https://example.com"}}]
    written = msgspec.json.encode(_message({"content": "hi", "annotations": sent}))
    assert msgspec.json.decode(written)["annotations"] == sent


def test_tool_calls_get_the_type_that_clients_insist_on() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert _message({"content": None, "tool_calls": [call]}).tool_calls == [
        ToolCall(id="c", type="function", function=FunctionCall(name="f", arguments='{"a":1}'))
    ]


def test_arguments_that_came_as_an_object_become_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    calls = _message({"content": "", "tool_calls": [call]}).tool_calls
    assert calls is not None
    assert calls[0].function == FunctionCall(name="f", arguments='{"a":1}')


@pytest.mark.parametrize(
    ("message", "content", "reasoning"),
    [
        ({"content": "a", "reasoning_content": "b"}, "a", "b"),
        ({"content": "a", "reasoning": "b", "reasoning_content": "c"}, "a", "b"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", None),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "b"}]},
                    {"type": "text", "text": "a"},
                ]
            },
            "a",
            "b",
        ),
        ({"content": [{"type": "thinking", "thinking": "b"}]}, None, "b"),
        ({"content": []}, None, None),
        ({"content": None}, None, None),
    ],
)
def test_thoughts_are_found_wherever_a_provider_puts_them(
    message: dict[str, Any], content: str | None, reasoning: str | None
) -> None:
    assert _message(message) == Message(role="assistant", content=content, reasoning=reasoning)


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("error", "error"),
        ("function_call", "tool_calls"),
        ("model_length", "length"),
        ("MAX_TOKENS", "length"),
        ("eos", "stop"),
        ("something new", "stop"),
    ],
)
def test_reasons_are_normalised_and_the_providers_word_is_kept(native: str, reason: str) -> None:
    assert normalised(native) == reason
    reply = _reply({"content": "a"}, finish_reason=native)
    assert reply is not None
    assert reply.choices[0].native_finish_reason == native


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b'{"choices":null}'])
def test_a_body_without_a_choice_is_no_completion(body: bytes) -> None:
    assert read_whole_reply(decode_completion(body), quirks.OPENAI) is None


_PLAIN = {"prompt_tokens": 10, "completion_tokens": 4}


@pytest.mark.parametrize(
    ("how", "told", "usage"),
    [
        (quirks.OPENAI, _PLAIN, Usage(prompt_tokens=10, completion_tokens=4)),
        (
            quirks.OPENAI,
            _PLAIN
            | {
                "prompt_tokens_details": {"cached_tokens": 6, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=6, reasoning_tokens=3),
        ),
        (
            quirks.OPENAI,
            _PLAIN | {"prompt_tokens_details": None, "completion_tokens_details": None},
            Usage(prompt_tokens=10, completion_tokens=4),
        ),
        (
            quirks.DEEPSEEK,
            _PLAIN | {"prompt_cache_hit_tokens": 2, "prompt_cache_miss_tokens": 8},
            Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=2),
        ),
        (
            quirks.XAI,
            _PLAIN | {"completion_tokens_details": {"reasoning_tokens": 30}},
            Usage(prompt_tokens=10, completion_tokens=34, reasoning_tokens=30),
        ),
        (
            quirks.OPENAI,
            _PLAIN | {"prompt_tokens_details": {"cached_tokens": 99}},
            Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=10),
        ),
        (
            quirks.OPENAI,
            {"prompt_tokens": 10.0, "completion_tokens": "4"},
            Usage(prompt_tokens=10, completion_tokens=4),
        ),
        (
            quirks.OPENAI,
            {"prompt_tokens": -5, "completion_tokens": 1 << 62},
            Usage(prompt_tokens=0, completion_tokens=1 << 40),
        ),
        (quirks.OPENAI, {"prompt_tokens": 10}, None),
        (quirks.OPENAI, {}, None),
        (quirks.OPENAI, None, None),
        (quirks.OPENAI, [], None),
        (quirks.OPENAI, {"prompt_tokens": "many", "completion_tokens": 4}, None),
    ],
)
def test_usage_is_read_with_inclusive_counts_or_not_at_all(
    how: Quirks, told: Any, usage: Usage | None
) -> None:
    assert read_usage(msgspec.Raw(msgspec.json.encode(told)), how) == usage


def test_reasoning_details_are_kept_but_for_shapes_that_nobody_knows() -> None:
    message = _message(
        {
            "content": "a",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "t", "signature": None, "id": None},
                {"type": "reasoning.of_tomorrow", "x": 1},
            ],
        }
    )
    assert message.reasoning_details == [ReasoningText(text="t")]
