"""What is written for Converse, field by field."""

from typing import Any

import msgspec
import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.outbound.providers.bedrock.converse_request import write_converse
from services.dispatcher.outbound.providers.bedrock.tools import NO_TOOLS_WANTED
from tests.contract.providers.builders import attempt, request

CLAUDE = "anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
GPT = "openai.gpt-oss-120b-1:0"

_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}
_CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "go"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a.1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            {"id": "b" * 99, "type": "function", "function": {"name": "g", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "a.1", "content": "one"},
    {"role": "tool", "tool_call_id": "b" * 99, "content": "two"},
]
_FORM: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}}},
}

_LIST = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}


def _parts(model: str = CLAUDE, **fields: Any) -> dict[str, Any]:
    written = write_converse(attempt("amazon-bedrock", provider_model=model), request(**fields))
    assert not isinstance(written, ProviderFailure), written
    return written.parts


def _user(*content: Any, model: str = CLAUDE, **fields: Any) -> list[Any]:
    parts = _parts(model, messages=[{"role": "user", "content": list(content)}], **fields)
    blocks: list[Any] = parts["messages"][0]["content"]
    return blocks


def _data(kind: str) -> str:
    return f"data:{kind};base64,aGk="


def test_the_system_stands_apart_and_turns_alternate() -> None:
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c "},
    ]
    parts = _parts(messages=messages)
    assert parts["system"] == [{"text": "be kind"}]
    assert parts["messages"] == [
        {"role": "user", "content": [{"text": "a"}, {"text": "b"}]},
        {"role": "assistant", "content": [{"text": "c"}]},
    ]


def test_images_and_documents_are_bytes_and_documents_have_names_of_their_own() -> None:
    file = {
        "type": "file",
        "file": {"filename": "a_b.pdf", "file_data": _data("application/pdf")},
    }
    image = {"type": "image_url", "image_url": {"url": _data("image/png")}}
    assert _user(image, file, file) == [
        {"image": {"format": "png", "source": {"bytes": b"hi"}}},
        {"document": {"format": "pdf", "name": "a b pdf", "source": {"bytes": b"hi"}}},
        {"document": {"format": "pdf", "name": "a b pdf 2", "source": {"bytes": b"hi"}}},
        {"text": "This is the document."},
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/zip;base64,aGk="}},
    ],
)
def test_what_it_cannot_take_is_left_to_another_provider(part: dict[str, Any]) -> None:
    asked = request(messages=[{"role": "user", "content": [part]}])
    failure = write_converse(attempt("amazon-bedrock", provider_model=CLAUDE), asked)
    assert isinstance(failure, ProviderFailure)
    assert failure.failure is FailureClass.UNSUPPORTED


def test_calls_and_their_results_have_ids_that_are_taken() -> None:
    parts = _parts(messages=_CALLED, tools=[_TOOL])
    _, said, answered = parts["messages"]
    assert [block["toolUse"] for block in said["content"]] == [
        {"toolUseId": "a_1", "name": "f", "input": {"x": 1}},
        {"toolUseId": "b" * 64, "name": "g", "input": {}},
    ]
    assert [block["toolResult"] for block in answered["content"]] == [
        {"toolUseId": "a_1", "content": [{"text": "one"}]},
        {"toolUseId": "b" * 64, "content": [{"text": "two"}]},
    ]


def test_calls_without_tools_have_theirs_told_and_are_not_to_be_made_again() -> None:
    parts = _parts(messages=_CALLED)
    names = [tool["toolSpec"]["name"] for tool in parts["toolConfig"]["tools"]]
    assert names == ["f", "g"]
    assert parts["system"] == [{"text": NO_TOOLS_WANTED}]


@pytest.mark.parametrize(
    ("model", "choice", "told"),
    [
        (CLAUDE, None, None),
        (CLAUDE, "auto", {"auto": {}}),
        (CLAUDE, "required", {"any": {}}),
        (NOVA, {"type": "function", "function": {"name": "f"}}, {"tool": {"name": "f"}}),
        (LLAMA, "required", {"auto": {}}),
        ("anthropic.claude-opus-5-5", "required", {"auto": {}}),
    ],
)
def test_the_choice_of_a_tool(model: str, choice: Any, told: Any) -> None:
    config = _parts(model, tools=[_TOOL], tool_choice=choice)["toolConfig"]
    assert config.get("toolChoice") == told
    schema = {"type": "object", "properties": {}}
    assert config["tools"] == [{"toolSpec": {"name": "f", "inputSchema": {"json": schema}}}]


def test_no_tool_wanted_is_no_tool_told() -> None:
    assert "toolConfig" not in _parts(tools=[_TOOL], tool_choice="none")


def test_one_call_at_a_time_is_told_to_claude_alone() -> None:
    fields = {"tools": [_TOOL], "parallel_tool_calls": False}
    assert _parts(CLAUDE, **fields)["additionalModelRequestFields"] == {
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}
    }
    assert "additionalModelRequestFields" not in _parts(NOVA, **fields)


def test_cache_marks_are_points_where_the_model_takes_them() -> None:
    text = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert _user(text) == [{"text": "a"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert _user(text, model=NOVA) == [{"text": "a"}, {"cachePoint": {"type": "default"}}]
    assert _user(text, model=LLAMA) == [{"text": "a"}]


def test_a_schema_is_told_where_the_model_knows_it() -> None:
    form = _parts(CLAUDE, response_format=_FORM)["outputConfig"]["textFormat"]
    schema = msgspec.json.decode(form["structure"]["jsonSchema"]["schema"])
    assert schema == {"type": "object", "properties": {}, "additionalProperties": False}
    assert (form["type"], form["structure"]["jsonSchema"]["name"]) == ("json_schema", "n")
    assert "outputConfig" in _parts(GPT, response_format=_FORM)
    assert "outputConfig" not in _parts(NOVA, response_format=_FORM)


@pytest.mark.parametrize(
    ("model", "choice"),
    [
        (NOVA, {"tool": {"name": "n"}}),
        ("anthropic.claude-3-haiku-20240307-v1:0", {"tool": {"name": "n"}}),
        ("mistral.mistral-large-2407-v1:0", {"any": {}}),
    ],
)
def test_a_schema_is_the_input_of_a_tool_where_the_model_knows_no_other_way(
    model: str, choice: dict[str, Any]
) -> None:
    parts = _parts(model, response_format=_FORM, reasoning={"effort": "none"})
    (tool,) = parts["toolConfig"]["tools"]
    assert tool["toolSpec"]["name"] == "n"
    assert tool["toolSpec"]["inputSchema"]["json"] == _FORM["json_schema"]["schema"]
    assert parts["toolConfig"]["toolChoice"] == choice


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (NOVA, {"tools": [_TOOL]}),
        (LLAMA, {}),
        ("deepseek.r1-v1:0", {}),
        (NOVA, {"response_format": _LIST}),
    ],
)
def test_a_schema_that_cannot_be_held_to_is_left_out(model: str, fields: dict[str, Any]) -> None:
    parts = _parts(model, **{"response_format": _FORM, **fields})
    told = [each["toolSpec"]["name"] for each in parts.get("toolConfig", {"tools": []})["tools"]]
    assert told == [each["function"]["name"] for each in fields.get("tools", [])]
    assert "outputConfig" not in parts


def test_how_words_are_drawn() -> None:
    wanted = {"temperature": 1.5, "top_p": 0.5, "top_k": 7, "stop": ["x", " "], "max_tokens": 9}
    assert _parts(NOVA, **wanted)["inferenceConfig"] == {
        "maxTokens": 9,
        "temperature": 1.0,
        "topP": 0.5,
        "stopSequences": ["x"],
    }
    assert _parts(NOVA, **wanted)["additionalModelRequestFields"] == {
        "inferenceConfig": {"topK": 7}
    }
    # this Claude takes one of temperature and top_p
    assert "topP" not in _parts(CLAUDE, **wanted)["inferenceConfig"]
    assert "inferenceConfig" not in _parts(LLAMA)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 8000}}),
        (GPT, {"reasoning_effort": "high"}),
        (
            "amazon.nova-2-lite-v1:0",
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}},
        ),
        (LLAMA, None),
    ],
)
def test_thinking_is_asked_for_in_the_familys_way(model: str, told: Any) -> None:
    parts = _parts(model, reasoning={"effort": "high"}, max_tokens=10_000)
    assert parts.get("additionalModelRequestFields") == told
    assert ("inferenceConfig" in parts) == (not model.startswith("amazon."))


@pytest.mark.parametrize(
    ("model", "fields", "served"),
    [
        (CLAUDE, {"temperature": 1, "stop": "x", "response_format": _FORM}, True),
        (CLAUDE, {"seed": 1}, False),
        (NOVA, {"response_format": _FORM}, True),
        (NOVA, {"response_format": _FORM, "tools": [_TOOL]}, False),
        (LLAMA, {"response_format": _FORM}, False),
        (LLAMA, {"tools": [_TOOL], "tool_choice": "required"}, False),
        (LLAMA, {"tools": [_TOOL], "temperature": 0.5, "top_p": 1}, True),
    ],
)
def test_who_insists_on_parameters_is_served_by_those_that_take_them(
    model: str, fields: dict[str, Any], *, served: bool
) -> None:
    asked = request(provider={"require_parameters": True}, **fields)
    written = write_converse(attempt("amazon-bedrock", provider_model=model), asked)
    assert isinstance(written, ProviderFailure) != served
