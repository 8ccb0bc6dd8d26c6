"""What is written for Anthropic, field by field."""

from typing import Any

import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.outbound.providers.anthropic.messages_request import (
    JSON_WANTED,
    MessagesRequest,
    write_messages,
)
from tests.contract.providers.builders import attempt, request

_TOOL = {"type": "function", "function": {"name": "f"}}
_LIMIT = 16_384  # of the endpoint that `attempt` makes


def _write(model: str = "claude-haiku-4-5", **fields: Any) -> MessagesRequest:
    to = attempt("anthropic", provider_model=model)
    written = write_messages(to, request(**fields), streamed=False)
    assert isinstance(written, MessagesRequest), written
    return written


def _body(model: str = "claude-haiku-4-5", **fields: Any) -> dict[str, Any]:
    return _write(model, **fields).body


@pytest.mark.parametrize(("asked", "limit"), [(None, _LIMIT), (100, 100), (1_000_000, _LIMIT)])
def test_the_limit_is_the_clients_within_the_endpoints(asked: int | None, limit: int) -> None:
    assert _body(max_tokens=asked)["max_tokens"] == limit


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking", "effort"),
    [
        ("claude-haiku-4-5", {"effort": "high"}, ("enabled", 8000), None),
        ("claude-haiku-4-5", {"max_tokens": 2000}, ("enabled", 2000), None),
        ("claude-haiku-4-5", {"max_tokens": 5}, ("enabled", 1024), None),
        ("claude-haiku-4-5", {"enabled": False}, None, None),
        ("claude-sonnet-4-6", {"max_tokens": 2000}, ("enabled", 2000), None),
        ("claude-sonnet-4-6", {"effort": "xhigh"}, ("adaptive", None), "high"),
        ("claude-opus-4-8", {"effort": "xhigh"}, ("adaptive", None), "xhigh"),
        ("claude-opus-4-8", {"max_tokens": 2000}, ("adaptive", None), "low"),
        ("claude-opus-4-8", {"enabled": False}, None, None),
        ("claude-sonnet-5", {"effort": "none"}, ("disabled", None), None),
        ("claude-haiku-5-5", {"enabled": False}, ("disabled", None), None),
        ("claude-opus-5-5", {"enabled": False}, None, None),
        ("claude-sonnet-5", {}, None, None),
        ("claude-3-haiku-20240307", {"effort": "high"}, None, None),
    ],
)
def test_thinking_is_asked_for_as_the_model_knows_it(
    model: str,
    reasoning: dict[str, Any],
    thinking: tuple[str, int | None] | None,
    effort: str | None,
) -> None:
    body = _body(model, reasoning=reasoning, max_tokens=10_000)
    told = body.get("thinking")
    found = told and (told["type"], told.get("budget_tokens"))
    assert (found, body.get("output_config", {}).get("effort")) == (thinking, effort)


def test_a_forced_tool_wins_over_thinking_and_thinking_over_sampling() -> None:
    forced = _body(tools=[_TOOL], tool_choice="required", reasoning={"enabled": True})
    assert (forced["tool_choice"], "thinking" in forced) == ({"type": "any"}, False)
    thinks = _body(temperature=0.5, reasoning={"enabled": True})
    assert ("temperature" in thinks, "thinking" in thinks) == (False, True)


@pytest.mark.parametrize(
    ("choice", "parallel", "told"),
    [
        (None, None, None),
        ("none", False, {"type": "none"}),
        ("auto", True, {"type": "auto"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
    ],
)
def test_the_choice_of_tools(choice: Any, parallel: Any, told: Any) -> None:
    body = _body(tools=[_TOOL], tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == told
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]


def test_marks_for_the_cache_stay_where_they_were() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    body = _body(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": mark}]},
            {"role": "user", "content": "u", "cache_control": {"type": "ephemeral"}},
        ],
        tools=[{**_TOOL, "cache_control": mark}],
        cache_control=mark,
    )
    assert body["system"] == [{"type": "text", "text": "s", "cache_control": mark}]
    (message,) = body["messages"]
    assert message["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["tools"][0]["cache_control"] == mark
    assert body["cache_control"] == mark


def test_messages_of_one_side_are_one_and_results_come_first() -> None:
    body = _body(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
            {"role": "user", "content": "b"},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ]
    )
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "text"]


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    body = _body(response_format={"type": "json_object"})
    assert body["system"] == [{"type": "text", "text": JSON_WANTED}]


def test_thinking_between_tools_needs_a_beta_where_it_goes_by_budget() -> None:
    assert _write(tools=[_TOOL], reasoning={"enabled": True}).betas
    assert not _write("claude-sonnet-5", tools=[_TOOL], reasoning={"enabled": True}).betas


def test_a_service_tier_is_for_peoples_own_keys_alone() -> None:
    assert _body(service_tier="default")["service_tier"] == "standard_only"
    shared = attempt("anthropic", provider_model="claude-haiku-4-5", tier="shared")
    written = write_messages(shared, request(service_tier="default"), streamed=False)
    assert isinstance(written, MessagesRequest)
    assert "service_tier" not in written.body


def test_where_links_are_not_taken_an_image_at_an_address_is_told_with_its_place() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    asked = request(messages=[{"role": "user", "content": [part]}])
    to = attempt("google-vertex", provider_model="claude-haiku-4-5")
    refused = write_messages(to, asked, streamed=True, takes_links=False)
    assert isinstance(refused, ProviderFailure)
    assert refused.failure is FailureClass.UNSUPPORTED
    assert (refused.raw or "").startswith("messages[0].content[0]: ")
