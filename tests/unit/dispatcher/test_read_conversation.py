"""What a chat request means, whoever is to answer it."""

import base64
from typing import Any

import msgspec
import pytest

from services.dispatcher.domain.conversation import (
    AssistantMessage,
    Audio,
    CacheMark,
    Conversation,
    Data,
    File,
    Image,
    JsonSchema,
    Link,
    NamedTool,
    Reasoning,
    Refused,
    SystemMessage,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    UserMessage,
    Video,
)
from services.dispatcher.domain.failure import FailureClass
from services.dispatcher.domain.read_conversation import read_conversation
from services.dispatcher.domain.request import ChatRequest, read_request
from shared.events.replies import ReasoningEncrypted, ReasoningText

_PNG = base64.b64encode(b"\x89PNG....").decode()


def _request(**fields: Any) -> ChatRequest:
    body = {"model": "anthropic/claude-sonnet-5", "messages": [_user("hi")], **fields}
    read = read_request(msgspec.json.encode(body))
    assert isinstance(read, ChatRequest)
    return read


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _read(**fields: Any) -> Conversation:
    read = read_conversation(_request(**fields))
    assert isinstance(read, Conversation), read
    return read


def _refused(**fields: Any) -> Refused:
    read = read_conversation(_request(**fields))
    assert isinstance(read, Refused), read
    return read


def test_every_role_is_read() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    read = _read(
        messages=[
            {"role": "system", "content": "be kind"},
            {"role": "developer", "content": [{"type": "text", "text": "and brief"}]},
            _user("go"),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
        ]
    )
    assert read.messages == (
        SystemMessage(parts=(Text(text="be kind"),)),
        SystemMessage(parts=(Text(text="and brief"),)),
        UserMessage(parts=(Text(text="go"),)),
        AssistantMessage(
            parts=(), tool_calls=(ToolCall(id="c1", name="f", arguments=msgspec.Raw(b'{"a": 1}')),)
        ),
        ToolResult(tool_call_id="c1", parts=(Text(text="done"),)),
    )


def test_every_kind_of_content_is_read() -> None:
    read = _read(
        messages=[
            _user(
                [
                    {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PNG}"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {
                        "type": "file",
                        "file": {
                            "filename": "a.pdf",
                            "file_data": f"data:application/pdf;base64,{_PNG}",
                        },
                    },
                    {"type": "input_audio", "input_audio": {"data": _PNG, "format": "wav"}},
                    {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
                ]
            )
        ]
    )
    assert read.messages == (
        UserMessage(
            parts=(
                Text(text="look", cache=CacheMark()),
                Image(source=Data(media_type="image/png", base64=_PNG), path=""),
                Image(source=Link(url="https://example.com/a.png"), path=""),
                File(
                    source=Data(media_type="application/pdf", base64=_PNG),
                    filename="a.pdf",
                    path="",
                ),
                Audio(source=Data(media_type="audio/wav", base64=_PNG), path=""),
                Video(source=Link(url="https://example.com/a.mp4"), path=""),
            )
        ),
    )
    assert Data(media_type="image/png", base64=_PNG).content == b"\x89PNG...."


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "image_url", "image_url": {"url": "http://example.com/a"}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,a"}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, ".image_url.url"),
        ({"type": "image_url"}, ".image_url.url"),
        ({"type": "file", "file": {"file_id": "file-1"}}, ".file.file_id"),
        ({"type": "file", "file": {"filename": "a"}}, ".file.file_data"),
        (
            {"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}},
            ".input_audio.data",
        ),
        ({"type": "hologram"}, ".type"),
    ],
)
def test_content_that_cannot_be_read_is_refused_with_its_place(
    part: dict[str, Any], path: str
) -> None:
    refused = _refused(messages=[_user("a"), _user([part])])
    assert refused.path == f"messages[1].content[0]{path}"
    failure = refused.as_bad_input()
    assert failure.failure is FailureClass.INVALID_REQUEST
    assert failure.status is None
    assert refused.path in (failure.raw or "")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "oracle", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {
                "messages": [
                    {
                        "role": "system",
                        "content": [{"type": "image_url", "image_url": "https://a.b/c"}],
                    }
                ]
            },
            "messages[0].content[0].type",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "[1]"}}],
                    }
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": [1]}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"reasoning": {"effort": "wild"}}, "reasoning.effort"),
        ({"reasoning_effort": "wild"}, "reasoning_effort"),
        ({"reasoning": {"max_tokens": -1}}, "reasoning.max_tokens"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_a_field_that_cannot_be_read_is_refused_with_its_name(
    fields: dict[str, Any], path: str
) -> None:
    assert _refused(**fields).path == path


def test_tools_and_the_form_of_the_answer_are_read() -> None:
    read = _read(
        tools=[
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "object"}, "strict": True},
                "cache_control": {"type": "ephemeral", "ttl": "1h"},
            }
        ],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}},
        },
        stop="END",
        max_tokens=7,
    )
    schema = msgspec.Raw(b'{"type":"object"}')
    assert read.tools == (
        Tool(name="f", parameters=schema, strict=True, cache=CacheMark(ttl="1h")),
    )
    assert read.tool_choice == NamedTool("f")
    assert read.parallel_tool_calls is False
    assert read.answer_format == JsonSchema(name="n", schema=schema)
    assert (read.stop, read.max_tokens) == (("END",), 7)


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({}, Reasoning()),
        ({"reasoning": {"effort": "high"}}, Reasoning(is_wanted=True, effort="high")),
        ({"reasoning_effort": "LOW"}, Reasoning(is_wanted=True, effort="low")),
        ({"reasoning": {"max_tokens": 5}}, Reasoning(is_wanted=True, max_tokens=5)),
        ({"reasoning": {"enabled": True}}, Reasoning(is_wanted=True)),
        ({"reasoning": {"enabled": False}}, Reasoning(is_wanted=False)),
        ({"reasoning": {"effort": "none"}}, Reasoning(is_wanted=False)),
        ({"reasoning": {"exclude": True}}, Reasoning(exclude=True)),
        ({"include_reasoning": False}, Reasoning(exclude=True)),
        ({"include_reasoning": True}, Reasoning(is_wanted=True)),
    ],
)
def test_how_much_to_think_is_read(fields: dict[str, Any], reasoning: Reasoning) -> None:
    assert _read(**fields).reasoning == reasoning


def test_reasoning_of_earlier_answers_comes_back_whole_though_it_was_streamed_in_pieces() -> None:
    kind = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    read = _read(
        messages=[
            _user("q"),
            {
                "role": "assistant",
                "content": "a",
                "reasoning_details": [
                    {**kind, "text": "one "},
                    {**kind, "text": "two", "signature": None},
                    {**kind, "signature": "sig"},
                    {"type": "reasoning.encrypted", "data": "xx", "index": 1, "id": None},
                    {"type": "reasoning.of_tomorrow", "data": "yy"},
                ],
            },
        ]
    )
    assistant = read.messages[1]
    assert isinstance(assistant, AssistantMessage)
    assert assistant.reasoning == (
        ReasoningText(text="one two", signature="sig", format="anthropic-claude-v1", index=0),
        ReasoningEncrypted(data="xx", index=1),
    )


def test_a_messages_mark_for_the_cache_is_on_its_last_part() -> None:
    read = _read(
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                "cache_control": {"type": "ephemeral"},
            }
        ]
    )
    assert read.messages == (
        UserMessage(parts=(Text(text="a"), Text(text="b", cache=CacheMark()))),
    )


def test_what_is_not_taken_matters_only_to_who_insists() -> None:
    taken = frozenset({"temperature"})
    assert _read(temperature=1, seed=1).left_out(taken) is None
    insisting: dict[str, Any] = {"provider": {"require_parameters": True}}
    assert _read(temperature=1, seed=None, **insisting).left_out(taken) is None
    failure = _read(temperature=1, seed=1, **insisting).left_out(taken)
    assert failure is not None
    assert failure.failure is FailureClass.UNSUPPORTED
    assert "seed" in (failure.raw or "")
