"""Anthropic's Messages API: `x-api-key`, its own blocks, events and errors.

Reference: platform.claude.com/docs/en/api; texts of errors also from public reports (autumn 2026).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from tests.simulator.answer import Answer, Events, ToolCall
from tests.simulator.anthropic_messages import SIGNATURE
from tests.simulator.anthropic_models import MODELS
from tests.simulator.call_log import WireName
from tests.simulator.errors import ErrorAnswer, RequestRefused
from tests.simulator.openai_wire import bearer
from tests.simulator.scripts import Status

VERSIONS: Final = frozenset({"2023-06-01", "2026-10-21"})

_STATUSES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "The request was refused."),
    402: ("billing_error", "There is a problem with your billing or payment information."),
    403: ("permission_error", "Your API key does not have permission to use this resource."),
    408: ("timeout_error", "Request timed out."),
    413: ("request_too_large", "Request exceeds the maximum allowed number of bytes."),
    429: (
        "rate_limit_error",
        "This request would exceed the rate limit for your organization of 50 requests per minute.",
    ),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out."),
    529: ("overloaded_error", "Overloaded"),
}
_CODES: Final[Mapping[str, tuple[int, str, str]]] = {
    "insufficient_quota": (
        400,
        "invalid_request_error",
        (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
            "Billing to upgrade or purchase credits."
        ),
    ),
    "context_length_exceeded": (
        400,
        "invalid_request_error",
        "prompt is too long: 200001 tokens > 200000 maximum",
    ),
    "content_filter": (
        400,
        "invalid_request_error",
        "Output blocked by content filtering policy",
    ),
}
_STOP_REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def key_of(headers: Mapping[str, str]) -> str | None:
    """The key: in `x-api-key` as the reference says, or Bearer as the SDK sends it since 2.x."""
    return headers.get("x-api-key") or bearer(headers)


def error_answer(status: int, kind: str, message: str, **headers: str) -> ErrorAnswer:
    """Anthropic's error object."""
    body = {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_simulator",
    }
    return ErrorAnswer(status=status, body=body, headers=headers)


def unknown_model(model: str) -> ErrorAnswer:
    """404."""
    return error_answer(404, "not_found_error", f"model: {model}")


def wrong_version(version: str | None) -> ErrorAnswer:
    """400, when the header is missing or names no version."""
    why = "header is required" if version is None else f'"{version}" is not a valid version'
    return error_answer(400, "invalid_request_error", f"anthropic-version: {why}")


def model_list() -> dict[str, Any]:
    """The body of `GET /v1/models`."""
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "2025-01-01T00:00:00Z",
            "lifecycle": "active",
        }
        for name in MODELS
    ]
    return {"data": data, "has_more": False, "first_id": None, "last_id": None}


class AnthropicWire:
    """Anthropic's way to say things."""

    @property
    def name(self) -> WireName:
        """`anthropic`."""
        return "anthropic"

    def completion(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        body = _message(answer, content=list(_blocks(answer)))
        body |= {"stop_reason": _stop_reason(answer), "stop_sequence": answer.stop}
        if answer.usage_told:
            body["usage"] = _usage(answer, answer.usage.completion_tokens)
        return msgspec.json.encode(body)

    def events(self, answer: Answer) -> Events:
        """The events of a streamed answer; a ping comes early, as it does."""
        begun = _message(answer, content=[])
        if answer.usage_told:
            begun["usage"] = _usage(answer, 1)
        opening = _event({"type": "message_start", "message": begun}) + _event({"type": "ping"})
        at = 0
        if answer.thought is not None:
            opening += b"".join(_thinking(answer.thought))
            at = 1
        closing = b""
        if answer.tool_calls:
            pieces = [
                piece
                for place, call in enumerate(answer.tool_calls)
                for piece in _tool_events(at + place, call)
            ]
        else:
            pieces = [_delta(at, "text_delta", text=text) for text in _pieces(answer.words)]
            if pieces:
                opening += _block_start(at, {"type": "text", "text": ""})
                closing = _block_stop(at)
        stop: dict[str, Any] = {
            "type": "message_delta",
            "delta": {"stop_reason": _stop_reason(answer), "stop_sequence": answer.stop},
        }
        if answer.usage_told:
            stop["usage"] = _usage(answer, answer.usage.completion_tokens)
        return Events(
            opening=opening,
            pieces=pieces,
            closing=closing + _event(stop) + _event({"type": "message_stop"}),
        )

    def refused_key(self, credential: str | None) -> ErrorAnswer:
        """401."""
        why = "x-api-key header is required" if credential is None else "invalid x-api-key"
        return error_answer(401, "authentication_error", why)

    def refused_request(self, refusal: RequestRefused) -> ErrorAnswer:
        """400."""
        return error_answer(400, "invalid_request_error", refusal.message)

    def scripted(self, step: Status, *, model: str, credential: str) -> ErrorAnswer:
        """What Anthropic answers with the step's status; some codes have a status of their own."""
        if step.status == 401:
            return self.refused_key(credential)
        if step.status == 404:
            return unknown_model(model)
        headers = {} if step.retry_after is None else {"retry-after": step.retry_after}
        if step.code is not None and step.code in _CODES:
            status, kind, message = _CODES[step.code]
            return error_answer(status, kind, message, **headers)
        kind, message = _STATUSES.get(step.status, _STATUSES[500])
        return error_answer(step.status, kind, message, **headers)

    def late_error(self, model: str) -> ErrorAnswer:
        """Overloaded, the error that a 200 most often turns into."""
        return self.scripted(Status(status=529), model=model, credential="")

    def error_event(self, error: ErrorAnswer) -> bytes:
        """An event of the type `error`."""
        return _event(error.body)


def _message(answer: Answer, *, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(answer: Answer, output_tokens: int) -> dict[str, Any]:
    """Anthropic's counts: input tokens leave out what the cache gave and took."""
    used = answer.usage
    return {
        "input_tokens": used.prompt_tokens - used.cached_tokens - used.cache_write_tokens,
        "cache_creation_input_tokens": used.cache_write_tokens,
        "cache_read_input_tokens": used.cached_tokens,
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": min(used.reasoning_tokens, output_tokens)},
        "service_tier": "standard",
    }


def _stop_reason(answer: Answer) -> str:
    return "stop_sequence" if answer.stop is not None else _STOP_REASONS[answer.finish_reason]


def _blocks(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.thought is not None:
        yield {"type": "thinking", "thinking": answer.thought, "signature": SIGNATURE}
    if answer.words:
        yield {"type": "text", "text": answer.text, "citations": None}
    for call in answer.tool_calls:
        yield _tool_use(call) | {"input": msgspec.json.decode(call.arguments)}


def _tool_use(call: ToolCall) -> dict[str, Any]:
    call_id = "toolu_" + call.id.removeprefix("call_")
    return {"type": "tool_use", "id": call_id, "name": call.name, "input": {}}


def _pieces(words: list[str]) -> Iterator[str]:
    for at, word in enumerate(words):
        yield f" {word}" if at else word


def _thinking(thought: str) -> Iterator[bytes]:
    yield _block_start(0, {"type": "thinking", "thinking": "", "signature": ""})
    for piece in _pieces(thought.split()):
        yield _delta(0, "thinking_delta", thinking=piece)
    yield _delta(0, "signature_delta", signature=SIGNATURE)
    yield _block_stop(0)


def _tool_events(at: int, call: ToolCall) -> Iterator[bytes]:
    yield _block_start(at, _tool_use(call)) + _delta(at, "input_json_delta", partial_json="")
    if call.arguments != "{}":
        for piece in call.pieces:
            yield _delta(at, "input_json_delta", partial_json=piece)
    yield _block_stop(at)


def _block_start(at: int, block: dict[str, Any]) -> bytes:
    return _event({"type": "content_block_start", "index": at, "content_block": block})


def _delta(at: int, kind: str, **fields: str) -> bytes:
    delta = {"type": kind, **fields}
    return _event({"type": "content_block_delta", "index": at, "delta": delta})


def _block_stop(at: int) -> bytes:
    return _event({"type": "content_block_stop", "index": at})


def _event(body: Mapping[str, Any]) -> bytes:
    return (
        b"event: " + str(body["type"]).encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"
    )
