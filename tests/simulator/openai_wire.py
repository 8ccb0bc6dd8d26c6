"""OpenAI's own wire: Bearer keys and its error objects.

Texts follow what the public API answers (platform.openai.com/docs/guides/error-codes and public
reports, autumn 2026).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tests.simulator.answer import Answer, Events
from tests.simulator.call_log import WireName
from tests.simulator.chat_shape import ChatShape
from tests.simulator.errors import ErrorAnswer, RequestRefused
from tests.simulator.scripts import Status

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-5", "o3-mini", "mistral-large-latest")
CREATED = 1_715_367_049

_SHAPE = ChatShape()
_SHOWN_FRONT, _SHOWN_BACK = 8, 4

_STATUSES: Mapping[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request was refused."),
    402: ("invalid_request_error", "insufficient_balance", "Insufficient Balance"),
    403: (
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    408: ("timeout", None, "Request timed out."),
    429: (
        "requests",
        "rate_limit_exceeded",
        (
            "Rate limit reached for {model} in organization org-simulator on requests per min (RPM): "
            "Limit 500, Used 500, Requested 1. Please try again in {retry_after}s. Visit "
            "https://platform.openai.com/account/rate-limits to learn more."
        ),
    ),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    503: (
        "service_unavailable_error",
        None,
        "The engine is currently overloaded, please try again later.",
    ),
}
_CODES: Mapping[str, tuple[str, str | None, str]] = {
    "insufficient_quota": (
        "insufficient_quota",
        None,
        (
            "You exceeded your current quota, please check your plan and billing details. For more "
            "information on this error, read the docs: "
            "https://platform.openai.com/docs/guides/error-codes/api-errors."
        ),
    ),
    "context_length_exceeded": (
        "invalid_request_error",
        "messages",
        (
            "This model's maximum context length is 128000 tokens. However, your messages resulted in "
            "128001 tokens. Please reduce the length of the messages."
        ),
    ),
    "model_not_found": (
        "invalid_request_error",
        None,
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "content_filter": (
        "invalid_request_error",
        None,
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    ),
}


def error_body(
    message: str, kind: str, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def model_list() -> dict[str, Any]:
    """The body of `GET /v1/models`."""
    return {
        "object": "list",
        "data": [
            {"id": model, "object": "model", "created": CREATED, "owned_by": "system"}
            for model in MODELS
        ],
    }


def unknown_url(method: str, path: str) -> ErrorAnswer:
    """What every other path answers."""
    message = (
        f"Unknown request URL: {method} {path}. Please check the URL for typos, or see the docs at "
        "https://platform.openai.com/docs/api-reference/."
    )
    return ErrorAnswer(
        status=404, body=error_body(message, "invalid_request_error", code="unknown_url")
    )


def bearer(headers: Mapping[str, str]) -> str | None:
    """The key of the Authorization header."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _masked(key: str) -> str:
    hidden = "*" * max(3, len(key) - _SHOWN_FRONT - _SHOWN_BACK)
    return f"{key[:_SHOWN_FRONT]}{hidden}{key[-_SHOWN_BACK:]}"


class OpenAIWire:
    """OpenAI's way to say things."""

    @property
    def name(self) -> WireName:
        """`openai`."""
        return "openai"

    def completion(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        return _SHAPE.completion(answer)

    def events(self, answer: Answer) -> Events:
        """The events of a streamed answer."""
        return _SHAPE.events(answer)

    def refused_key(self, credential: str | None) -> ErrorAnswer:
        """401; like OpenAI it repeats the ends of the key, which nobody should pass on."""
        if credential is None:
            message = (
                "You didn't provide an API key. You need to provide your API key in an "
                "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            )
            return ErrorAnswer(status=401, body=error_body(message, "invalid_request_error"))
        message = (
            f"Incorrect API key provided: {_masked(credential)}. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
        )
        return ErrorAnswer(
            status=401, body=error_body(message, "invalid_request_error", code="invalid_api_key")
        )

    def refused_request(self, refusal: RequestRefused) -> ErrorAnswer:
        """400."""
        return ErrorAnswer(
            status=400,
            body=error_body(
                refusal.message, "invalid_request_error", param=refusal.param, code=refusal.code
            ),
        )

    def scripted(self, step: Status, *, model: str, credential: str) -> ErrorAnswer:
        """What OpenAI answers with the step's status."""
        if step.status == 401:
            return self.refused_key(credential)
        code = "model_not_found" if step.status == 404 and step.code is None else step.code
        headers = {} if step.retry_after is None else {"Retry-After": step.retry_after}
        if code is not None and code in _CODES:
            kind, param, message = _CODES[code]
        else:
            kind, known_code, message = _STATUSES.get(step.status, _STATUSES[500])
            param, code = None, code or known_code
            if step.status == 429:
                headers |= {"x-ratelimit-limit-requests": "500"}
                headers |= {"x-ratelimit-remaining-requests": "0"}
        text = message.format(model=model, retry_after=step.retry_after or "1")
        return ErrorAnswer(
            status=step.status,
            body=error_body(text, kind, param=param, code=code),
            headers=headers,
        )

    def late_error(self, model: str) -> ErrorAnswer:
        """The server's own fault."""
        return self.scripted(Status(status=500), model=model, credential="")

    def error_event(self, error: ErrorAnswer) -> bytes:
        """The error's body as an event like any other."""
        return b"data: " + msgspec.json.encode(error.body) + b"\n\n"
