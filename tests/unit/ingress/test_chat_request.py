import json
from typing import Any

import pytest

from services.ingress.domain.chat_request import ChatRequest, read_chat_request
from services.ingress.domain.refusals import Refusal

MESSAGES = [{"role": "user", "content": "hi"}]


def refused(body: bytes) -> Refusal:
    read = read_chat_request(body)
    assert isinstance(read, Refusal), read
    assert read.status == 400
    assert read.error_type == "invalid_request"
    return read


def body_with(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "role": (
        {"messages": [{"role": 1}]},
        "messages[0].role: expected string, got integer",
    ),
    "role word": (
        {"messages": [{"role": "king"}]},
        "messages[0].role: expected one of system, developer, user, assistant, tool, function",
    ),
    "no role": ({"messages": [{"content": "x"}]}, "messages[0].role: is required"),
    "content": (
        {"messages": [{"role": "user", "content": 5}]},
        "messages[0].content: expected string, array or null, got integer",
    ),
    "part": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
        "messages[0].content[0].text: expected string or null, got integer",
    ),
    "messages": ({"messages": {}}, "messages: expected array, got object"),
    "no messages": ({"messages": []}, "messages: expected array of length >= 1"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens: expected integer >= 1"),
    "temperature": ({"temperature": "hot"}, "temperature: expected number or null, got string"),
    "stream": ({"stream": "yes"}, "stream: expected boolean or null, got string"),
    "stop": ({"stop": [1]}, "stop[0]: expected string, got integer"),
    "tools": ({"tools": [{}]}, "tools[0].type: is required"),
    "tool name": (
        {"tools": [{"type": "function", "function": {}}]},
        "tools[0].function.name: is required",
    ),
    "provider": ({"provider": {"only": "x"}}, "provider.only: expected array or null, got string"),
    "byok_only": (
        {"provider": {"byok_only": 1}},
        "provider.byok_only: expected boolean or null, got integer",
    ),
    "models": ({"models": ["a", 2]}, "models[1]: expected string, got integer"),
    "metadata": ({"metadata": []}, "metadata: expected object or null, got array"),
    "response_format": ({"response_format": {}}, "response_format.type: is required"),
    "model": ({"model": None}, "model: name a model, or several in `models`"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_named_with_its_path(name: str) -> None:
    fields, message = WRONG[name]
    assert refused(body_with(**fields)).message == message


GOOD = body_with()
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the request body is empty"),
    "array": (b"[]", "the request body: expected object, got array"),
    "null": (b"null", "the request body: expected object, got null"),
    "cut": (GOOD[:-1], "the request body is not valid JSON"),
    "two documents": (GOOD + GOOD, "the request body is not valid JSON"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "the request body is not valid JSON"),
    "invalid UTF-8": (GOOD.replace(b"hi", b"\xff"), "the request body is not valid UTF-8"),
    "lone surrogate": (GOOD.replace(b"hi", b"\\ud800"), "the request body is not valid JSON"),
    "surrogate in UTF-8": (GOOD.replace(b"hi", b"\xed\xa0\x80"), "the request body is not valid"),
    "surrogate in a name": (GOOD[:-1] + b',"\\udc00":1}', "the request body is not valid JSON"),
    "NUL": (GOOD.replace(b"hi", b"\\u0000"), "the request body holds a NUL"),
    "NUL after backslashes": (GOOD.replace(b"hi", b"\\\\\\u0000"), "the request body holds a NUL"),
    "digits": (GOOD[:-1] + b',"seed":' + b"1" * 5000 + b"}", "seed: "),
    "digits unknown": (GOOD[:-1] + b',"x":' + b"1" * 5000 + b"}", ""),
    "1e999": (GOOD[:-1] + b',"top_p":1e999}', ""),
    "1e999 unknown": (GOOD[:-1] + b',"x":1e999}', ""),
    "NaN": (GOOD[:-1] + b',"top_p":NaN}', "the request body is not valid JSON"),
    "Infinity": (GOOD[:-1] + b',"top_p":Infinity}', "the request body is not valid JSON"),
    "deep": (b"[" * 100_000, "the request body is nested too deeply"),
    "deep inside": (GOOD[:-1] + b',"x":' + b'{"a":' * 100_000, "the request body is nested"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused(name: str) -> None:
    body, begins = HOSTILE[name]
    message = refused(body).message
    assert message.startswith(begins) or name == "digits", message


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert isinstance(read_chat_request(GOOD.replace(b"hi", b"\\\\u0000")), ChatRequest)


def test_what_real_clients_send_passes() -> None:
    body = body_with(
        models=["a", "m"],
        usage={"include": True},
        stream=True,
        stream_options={"include_usage": True},
        transforms=["middle-out"],
        provider={"order": ["OpenAI"], "allow_fallbacks": False, "max_price": {"prompt": 1}},
        reasoning={"effort": "high", "exclude": True},
        plugins=[{"id": "web", "max_results": 3}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        temperature=1,
        some_future_field={"x": [1]},
    )
    read = read_chat_request(body)
    assert isinstance(read, ChatRequest)
    assert read.requested_models == ("m", "a")
    assert not read.is_byok_only


def test_a_request_may_keep_away_from_shared_capacity() -> None:
    read = read_chat_request(body_with(provider={"byok_only": True}))
    assert isinstance(read, ChatRequest)
    assert read.is_byok_only
