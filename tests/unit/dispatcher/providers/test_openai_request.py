"""What goes out: only what the provider knows, under its own names."""

from typing import Any

import msgspec
import pytest

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.outbound.providers import quirks
from services.dispatcher.outbound.providers.openai_request import request_body
from services.dispatcher.outbound.providers.quirks import Quirks
from services.dispatcher.outbound.providers.registry import ROWS
from tests.contract.providers.builders import attempt, request


def _body(
    wanted: ChatRequest,
    to: Attempt | None = None,
    how: Quirks = quirks.OPENAI,
    *,
    streamed: bool = False,
    usage_asked: bool = True,
) -> dict[str, Any]:
    body = request_body(to or attempt(), wanted, how, streamed=streamed, usage_asked=usage_asked)
    assert isinstance(body, bytes), body
    decoded: dict[str, Any] = msgspec.json.decode(body)
    return decoded


def test_the_model_is_the_providers_own_name_of_it() -> None:
    body = _body(request(), attempt(provider_model="gpt-4o-2024-11-20"))
    assert body == {
        "model": "gpt-4o-2024-11-20",
        "messages": [{"role": "user", "content": "hello words=3"}],
    }


@pytest.mark.parametrize(
    "name",
    [
        "models",
        "provider",
        "route",
        "transforms",
        "plugins",
        "usage",
        "session_id",
        "trace",
        "preset",
        "include_reasoning",
        "reasoning",
        "debug",
        "metadata",
        "store",
        "top_k",
        "min_p",
        "image_config",
        "stop_server_tools_when",
        "cache_control",
        "prompt",
        "never_heard_of",
    ],
)
def test_openai_never_sees_a_field_that_is_not_its_own(name: str) -> None:
    values: dict[str, Any] = {
        "models": ["openai/gpt-4o"],
        "provider": {"only": ["openai"]},
        "debug": {},
        "trace": {},
    }
    wanted = request(**{name: values.get(name, 1), "temperature": 0.5})
    assert _body(wanted).keys() == {"model", "messages", "temperature"}


def test_what_openai_knows_is_passed_on_as_it_is() -> None:
    fields: dict[str, Any] = {
        "temperature": 0.25,
        "top_p": 0.5,
        "n": 2,
        "stop": ["a"],
        "seed": 7,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "top_logprobs": 3,
        "logit_bias": {"50256": -100},
        "user": "someone",
        "prompt_cache_key": "k",
        "service_tier": "flex",
    }
    body = _body(request(**fields))
    assert {name: body[name] for name in fields} == fields


def test_null_is_the_same_as_absent() -> None:
    assert _body(request(temperature=None, stop=None)).keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai/gpt-4o", "max_tokens"),
        ("openai/gpt-4.1-mini", "max_tokens"),
        ("openai/gpt-5", "max_completion_tokens"),
        ("openai/gpt-5-mini", "max_completion_tokens"),
        ("openai/gpt-5.2", "max_completion_tokens"),
        ("openai/gpt-6-sol", "max_completion_tokens"),
        ("openai/gpt-6.1-sol", "max_completion_tokens"),
        ("openai/o3-mini", "max_completion_tokens"),
        ("openai/o1", "max_completion_tokens"),
    ],
)
@pytest.mark.parametrize("asked", ["max_tokens", "max_completion_tokens"])
def test_the_limit_has_the_name_that_the_model_wants(model: str, name: str, asked: str) -> None:
    limit: dict[str, Any] = {asked: 9}
    body = _body(request(**limit), attempt(model=model))
    assert {each: body[each] for each in body if "max" in each} == {name: 9}


def test_a_deployment_is_known_by_its_model_whatever_it_is_called() -> None:
    to = attempt("azure", model="openai/o3-mini", provider_model="our-thinker")
    assert _body(request(max_tokens=9), to)["max_completion_tokens"] == 9


def test_a_stream_asks_for_usage_whether_the_client_did_or_not() -> None:
    body = _body(request(stream_options={"include_usage": False}), streamed=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_a_plain_call_says_nothing_of_streams() -> None:
    body = _body(request(stream=False, stream_options={"include_usage": True}))
    assert body.keys() == {"model", "messages"}


def test_an_old_version_of_azure_is_not_asked_for_usage() -> None:
    assert "stream_options" not in _body(request(), streamed=True, usage_asked=False)


def test_mistral_gets_what_its_api_lists_and_nothing_else() -> None:
    wanted = request(
        seed=7,
        user="someone",
        logprobs=True,
        max_completion_tokens=9,
        temperature=0.5,
        frequency_penalty=0.1,
    )
    body = _body(wanted, how=quirks.MISTRAL, streamed=True)
    assert body.keys() == {
        "model",
        "messages",
        "random_seed",
        "max_tokens",
        "temperature",
        "frequency_penalty",
        "stream",
    }
    assert body["random_seed"] == 7


EVERYTHING: dict[str, Any] = {
    "frequency_penalty": 0.1,
    "logit_bias": {"1": 1},
    "logprobs": True,
    "max_completion_tokens": 9,
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "a"},
    "presence_penalty": 0.1,
    "response_format": {"type": "json_object"},
    "seed": 7,
    "service_tier": "flex",
    "stop": ["a"],
    "temperature": 0.5,
    "tool_choice": "auto",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "top_logprobs": 3,
    "top_p": 0.5,
    "user": "someone",
}


def test_google_gets_no_name_that_it_does_not_know_and_no_penalty() -> None:
    to = attempt("google-ai-studio", model="google/gemini-3.8-flash")
    body = _body(request(**EVERYTHING), to, quirks.GOOGLE_AI_STUDIO, streamed=True)
    assert body.keys() - {"model", "messages", "stream", "stream_options"} == {
        "max_tokens",
        "n",
        "response_format",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    }
    assert body["model"] == "gemini-3.8-flash"


def test_cohere_gets_nothing_that_its_page_calls_unsupported() -> None:
    to = attempt("cohere", model="cohere/command-a", provider_model="command-a-03-2025")
    body = _body(request(**EVERYTHING), to, quirks.COHERE, streamed=True)
    assert body.keys() - {"model", "messages", "stream", "stream_options"} == {
        "frequency_penalty",
        "logprobs",
        "max_tokens",
        "presence_penalty",
        "response_format",
        "seed",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    }


ASKED = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_KEPT = ("none", "minimal", "low", "medium", "high", "high", "high")
_THREE = (None, "low", "low", "medium", "high", "high", "high")
_ONE = ("none", *(["high"] * 6))


@pytest.mark.parametrize(
    ("how", "model", "sent"),
    [
        (quirks.OPENAI, "openai/o3", _THREE),
        (quirks.OPENAI, "openai/gpt-5-mini", (None, *_KEPT[1:])),
        (quirks.OPENAI, "openai/gpt-5-pro", (None, *(["high"] * 6))),
        (quirks.OPENAI, "openai/gpt-5.1", ("none", *_THREE[1:])),
        (quirks.OPENAI, "openai/gpt-5.4-nano", ("none", *_THREE[1:5], "xhigh", "xhigh")),
        (quirks.OPENAI, "openai/gpt-6.1-sol", ("none", *_THREE[1:5], "xhigh", "xhigh")),
        (quirks.OPENAI, "openai/gpt-5-chat", (None,) * 7),
        (quirks.OPENAI, "openai/gpt-4o", (None,) * 7),
        (quirks.MISTRAL, "mistralai/mistral-small-2603", _ONE),
        (quirks.MISTRAL, "mistralai/mistral-medium-3-5", _ONE),
        (quirks.MISTRAL, "mistralai/mistral-large-2512", (None,) * 7),
        (
            quirks.DEEPSEEK,
            "deepseek/deepseek-v4-flash",
            (None, "low", "low", "high", "high", "high", "max"),
        ),
        (quirks.GROQ, "openai/gpt-oss-120b", _THREE),
        (quirks.GROQ, "qwen/qwen3-32b", ("none", *(["default"] * 6))),
        (quirks.XAI, "x-ai/grok-3-mini", (None, "low", "low", "low", "high", "high", "high")),
        (quirks.XAI, "x-ai/grok-4.3", ("none", *_THREE[1:])),
        (quirks.XAI, "x-ai/grok-4.6", _THREE),
        (quirks.XAI, "x-ai/grok-4", (None,) * 7),
        (quirks.GOOGLE_AI_STUDIO, "google/gemini-2.5-flash-lite", _KEPT),
        (quirks.GOOGLE_AI_STUDIO, "google/gemini-2.5-pro", ("minimal", *_KEPT[1:])),
        (quirks.GOOGLE_AI_STUDIO, "google/gemini-3.8-flash", ("minimal", *_KEPT[1:])),
        (quirks.GOOGLE_AI_STUDIO, "google/gemma-4-31b-it", (None,) * 7),
        (quirks.TOGETHER, "openai/gpt-oss-20b", _THREE),
        (quirks.TOGETHER, "moonshotai/kimi-k2.6", (None,) * 7),
        (quirks.FIREWORKS, "openai/gpt-oss-20b", _THREE),
        (
            quirks.FIREWORKS,
            "deepseek/deepseek-v4-pro",
            ("none", "low", "low", "medium", "high", "xhigh", "xhigh"),
        ),
        (
            quirks.FIREWORKS,
            "z-ai/glm-5.2",
            ("none", "high", "high", "high", "high", "high", "max"),
        ),
        (quirks.FIREWORKS, "moonshotai/kimi-k2.6", _THREE),
        (quirks.COHERE, "cohere/command-a-reasoning-08-2025", _ONE),
        (quirks.COHERE, "cohere/command-a", (None,) * 7),
        (quirks.VERTEX_PARTNERS, "openai/gpt-oss-120b-maas", _THREE),
    ],
)
def test_each_effort_is_said_in_the_models_own_words(
    how: Quirks, model: str, sent: tuple[str | None, ...]
) -> None:
    for effort, word in zip(ASKED, sent, strict=True):
        for fields in ({"reasoning": {"effort": effort}}, {"reasoning_effort": effort}):
            body = _body(request(**fields), attempt(model=model), how)
            assert body.get("reasoning_effort") == word, effort


@pytest.mark.parametrize(
    ("how", "model", "off"),
    [
        (quirks.DEEPSEEK, "deepseek/deepseek-v4-pro", {"thinking": {"type": "disabled"}}),
        (quirks.TOGETHER, "z-ai/glm-5.2", {"reasoning": {"enabled": False}}),
        (quirks.TOGETHER, "openai/gpt-oss-20b", {}),
    ],
)
def test_thinking_is_turned_off_in_the_providers_own_way(
    how: Quirks, model: str, off: dict[str, Any]
) -> None:
    for fields in ({"effort": "none"}, {"enabled": False}, {"max_tokens": 0}):
        body = _body(request(reasoning=fields), attempt(model=model), how)
        assert {name: body[name] for name in body.keys() - {"messages", "model"}} == off


@pytest.mark.parametrize(
    ("model", "fields", "effort"),
    [
        ("openai/gpt-5", {"reasoning": {"enabled": True}}, "medium"),
        ("openai/gpt-5", {"reasoning": {"max_tokens": 4000}, "max_tokens": 10_000}, "medium"),
        ("openai/gpt-5", {"reasoning": {"max_tokens": 90}, "max_tokens": 100}, "high"),
        ("openai/gpt-5", {"reasoning": {"effort": None}}, None),
        ("openai/gpt-5", {"reasoning": "what"}, None),
        ("openai/gpt-5", {"reasoning_effort": "hardly"}, None),
        ("openai/o3", {"reasoning_effort": "high", "reasoning": {"effort": "low"}}, "low"),
        ("openai/gpt-4o", {"reasoning": {"max_tokens": 4000}}, None),
    ],
)
def test_whatever_way_it_is_asked_for_it_means_the_same(
    model: str, fields: dict[str, Any], effort: str | None
) -> None:
    assert _body(request(**fields), attempt(model=model)).get("reasoning_effort") == effort


@pytest.mark.parametrize(
    ("how", "model", "fields", "missing"),
    [
        (quirks.OPENAI, "openai/gpt-4o", {"n": 2, "seed": 1, "user": "u", "metadata": {}}, None),
        (quirks.OPENAI, "openai/gpt-4o", {"top_k": 1, "seed": None}, "top_k"),
        (quirks.OPENAI, "openai/gpt-5", {"temperature": 1, "top_p": 1}, "temperature, top_p"),
        (quirks.OPENAI, "openai/gpt-5", {"reasoning": {"effort": "low"}}, None),
        (quirks.OPENAI, "openai/o3", {"reasoning": {"effort": "none"}}, "reasoning"),
        (quirks.OPENAI, "openai/o3", {"reasoning": {"exclude": True}}, None),
        (quirks.OPENAI, "openai/gpt-4o", {"reasoning_effort": "low"}, "reasoning_effort"),
        (quirks.GROQ, "openai/gpt-oss-20b", {"n": 1}, None),
        (quirks.GROQ, "openai/gpt-oss-20b", {"n": 2}, "n"),
        (quirks.DEEPSEEK, "deepseek/deepseek-v4-pro", {"n": 2, "seed": 1}, "n, seed"),
        (quirks.TOGETHER, "z-ai/glm-5.2", {"n": 2, "reasoning": {"effort": "high"}}, None),
    ],
)
def test_who_insists_on_parameters_is_served_by_those_that_take_them(
    how: Quirks, model: str, fields: dict[str, Any], missing: str | None
) -> None:
    asked = request(provider={"require_parameters": True}, **fields)
    body = request_body(attempt(model=model), asked, how, streamed=False, usage_asked=True)
    if missing is None:
        assert isinstance(body, bytes)
    else:
        assert isinstance(body, ProviderFailure)
        assert body.failure is FailureClass.UNSUPPORTED
        assert (body.raw or "").endswith(f"does not take {missing}")
    assert isinstance(_body(request(**fields), attempt(model=model), how), dict)


def test_shared_capacity_takes_nothing_that_costs_more_than_the_list_price() -> None:
    asked = request(provider={"require_parameters": True}, service_tier="priority")
    shared = attempt(tier="shared")
    body = request_body(shared, asked, quirks.OPENAI, streamed=False, usage_asked=True)
    assert isinstance(body, ProviderFailure)
    assert _body(asked)["service_tier"] == "priority"


def test_openrouter_is_told_in_the_clients_own_words() -> None:
    asked: dict[str, Any] = {"reasoning": {"max_tokens": 100}, "reasoning_effort": "minimal"}
    body = _body(request(**asked), attempt("openrouter", model="x/y"), quirks.OPENROUTER)
    assert {name: body[name] for name in asked} == asked


def test_thinking_models_are_spared_the_sampling_that_they_refuse() -> None:
    wanted = request(temperature=0.5, top_p=0.9, logprobs=True, seed=1)
    for model in ("openai/o3-mini", "openai/gpt-6-sol"):
        assert _body(wanted, attempt(model=model)).keys() == {"model", "messages", "seed"}


def test_shared_capacity_buys_nothing_above_the_list_price() -> None:
    wanted = request(service_tier="priority", web_search_options={}, temperature=1)
    assert _body(wanted, attempt(tier="shared")).keys() == {"model", "messages", "temperature"}
    assert _body(wanted, attempt(tier="fallback")).keys() >= {"service_tier", "web_search_options"}


def _messages(sent: list[dict[str, Any]], how: Quirks = quirks.OPENAI) -> Any:
    return _body(request(messages=sent), how=how)["messages"]


def test_fields_that_only_answers_have_are_taken_out_of_messages() -> None:
    sent: list[dict[str, Any]] = [
        {"role": "user", "content": "a", "name": "n"},
        {
            "role": "assistant",
            "content": None,
            "reasoning": "hm",
            "reasoning_details": [],
            "images": [],
            "model": "x",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "b", "tool_call_id": "c"},
    ]
    assert _messages(sent) == [
        sent[0],
        {"role": "assistant", "content": None, "tool_calls": sent[1]["tool_calls"]},
        sent[2],
    ]


def test_marks_for_caches_are_taken_out_of_parts() -> None:
    parts = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    assert _messages([{"role": "user", "content": parts}, {"role": "user", "content": "b"}]) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "user", "content": "b"},
    ]


def test_a_provider_without_a_developer_role_gets_a_system_message() -> None:
    sent = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": '"developer"'}]
    assert _messages(sent, quirks.MISTRAL) == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": '"developer"'},
    ]
    assert _messages(sent) == sent


@pytest.mark.parametrize("messages", ["hello", [1], {"role": "user"}, []])
def test_messages_that_are_none_are_left_for_the_provider_to_refuse(messages: Any) -> None:
    assert _messages(messages) == messages


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_no_row_ever_sends_a_field_of_openrouters_own(row: Any) -> None:
    own = {"models", "provider", "route", "transforms", "plugins", "usage", "session_id", "trace"}
    assert own.isdisjoint(row.quirks.arguments)
    assert row.quirks.renamed.keys() <= row.quirks.arguments
    assert "messages" in row.quirks.arguments
