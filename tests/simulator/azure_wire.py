"""Azure's wire: deployments in the path, `api-version`, content filter results, string codes.

Shapes follow learn.microsoft.com/azure/ai-foundry/openai/reference and public reports.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tests.simulator.answer import FINGERPRINT, Answer, Events
from tests.simulator.call_log import WireName
from tests.simulator.chat_request import ChatRequest, unknown_argument
from tests.simulator.chat_shape import DONE, ChatShape
from tests.simulator.errors import ErrorAnswer, RequestRefused
from tests.simulator.openai_wire import error_body
from tests.simulator.scripts import Status

STREAM_OPTIONS_SINCE = "2024-08-01"
"""The first api-version that takes `stream_options`."""

_SAFE = {"filtered": False, "severity": "safe"}
_FILTERED = {"hate": _SAFE, "self_harm": _SAFE, "sexual": _SAFE, "violence": _SAFE}
_PROMPT_FILTERED = {
    "prompt_filter_results": [
        {
            "prompt_index": 0,
            "content_filter_results": {
                **_FILTERED,
                "jailbreak": {"detected": False, "filtered": False},
            },
        }
    ]
}
_SHAPE = ChatShape(
    completion_extra=_PROMPT_FILTERED,
    choice_extra={"content_filter_results": _FILTERED},
    bare_choice_extra={"content_filter_results": {}},
)
_FIRST_EVENT = (
    b"data: "
    + msgspec.json.encode(
        {"choices": [], "created": 0, "id": "", "model": "", "object": "", **_PROMPT_FILTERED}
    )
    + b"\n\n"
)
_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?$")

_RETRY = (
    "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded token "
    "rate limit of your current OpenAI S0 pricing tier. Please retry after {retry_after} seconds. "
    "Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the "
    "default rate limit."
)
_STATUSES: Mapping[int, tuple[str, str]] = {
    400: ("BadRequest", "The request was refused."),
    402: ("402", "The subscription of this resource has been disabled."),
    403: ("403", "Access denied due to Virtual Network/Firewall rules."),
    408: ("Timeout", "The operation was timeout."),
    429: ("429", _RETRY),
    500: ("InternalServerError", "The server had an error while processing your request."),
    503: ("ServiceUnavailable", "The service is temporarily unable to process your request."),
}
_FILTER_MESSAGE = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management "
    "policy. Please modify your prompt and retry. To learn more about our content filtering "
    "policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766"
)


def _error(status: int, code: str, message: str, **headers: str) -> ErrorAnswer:
    return ErrorAnswer(
        status=status, body={"error": {"code": code, "message": message}}, headers=headers
    )


def unknown_deployment() -> ErrorAnswer:
    """404 for a deployment that the resource does not have."""
    return _error(
        404,
        "DeploymentNotFound",
        "The API deployment for this resource does not exist. If you created the deployment within "
        "the last 5 minutes, please wait a moment and try again.",
    )


def resource_not_found() -> ErrorAnswer:
    """404 for a path or an api-version that does not exist."""
    return _error(404, "404", "Resource not found")


def does_not(operation: str, deployment: str) -> ErrorAnswer:
    """400 for a deployment whose model does something else."""
    return _error(
        400,
        "OperationNotSupported",
        f"The {operation} operation does not work with the specified model, {deployment}. Please "
        "choose different model and try again. You can learn more about which models can be used "
        "with each operation here: https://go.microsoft.com/fwlink/?linkid=2197993.",
    )


def is_api_version(value: str | None) -> bool:
    """Whether this is how Azure writes versions."""
    return value is not None and _API_VERSION.match(value) is not None


def in_version(request: ChatRequest, api_version: str | None) -> ChatRequest | RequestRefused:
    """The request, or what this version says to what it does not know yet."""
    if request.stream_options is not None and (api_version or "")[:10] < STREAM_OPTIONS_SINCE:
        return unknown_argument("stream_options")
    return request


def with_extra_arguments(
    request: ChatRequest, headers: Mapping[str, str]
) -> ChatRequest | RequestRefused:
    """What Foundry's API makes of arguments beyond its own, as `extra-parameters` tells it."""
    if request.stream_options is None:
        return request
    match headers.get("extra-parameters"):
        case "pass-through":
            return request
        case "drop":
            return msgspec.structs.replace(request, stream_options=None)
        case _:
            return unknown_argument("stream_options")


def _filtered_prompt() -> ErrorAnswer:
    result = {**_FILTERED, "violence": {"filtered": True, "severity": "medium"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": result}
    error: dict[str, Any] = {
        "message": _FILTER_MESSAGE,
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": inner,
    }
    return ErrorAnswer(status=400, body={"error": error})


def _late_annotation(answer: Answer) -> bytes:
    """A choice without `delta`, as the asynchronous content filter sends it."""
    body = {
        "id": answer.id,
        "object": "chat.completion.chunk",
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": FINGERPRINT,
        "choices": [
            {
                "index": 0,
                "finish_reason": None,
                "content_filter_results": _FILTERED,
                "content_filter_offsets": {"check_offset": 0, "start_offset": 0, "end_offset": 0},
            }
        ],
    }
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


class AzureWire:
    """Azure's way to say things."""

    @property
    def name(self) -> WireName:
        """`azure`."""
        return "azure"

    def completion(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        return _SHAPE.completion(answer)

    def events(self, answer: Answer) -> Events:
        """The events of a streamed answer, the one with the prompt's filter results first."""
        plain = _SHAPE.events(answer)
        closing = plain.closing
        if "async-filter" in answer.model:
            closing = closing.removesuffix(DONE) + _late_annotation(answer) + DONE
        return Events(opening=_FIRST_EVENT + plain.opening, pieces=plain.pieces, closing=closing)

    def refused_key(self, credential: str | None) -> ErrorAnswer:
        """401."""
        if credential is None:
            return _error(
                401,
                "401",
                "Unauthorized. Access token is missing, invalid, audience is incorrect "
                "(https://cognitiveservices.azure.com), or have expired.",
            )
        return _error(
            401,
            "401",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
            "provide a valid key for an active subscription and use a correct regional API "
            "endpoint for your resource.",
        )

    def refused_request(self, refusal: RequestRefused) -> ErrorAnswer:
        """400, in OpenAI's shape, since the model server behind Azure is the one that refuses."""
        return ErrorAnswer(
            status=400,
            body=error_body(
                refusal.message, "invalid_request_error", param=refusal.param, code=refusal.code
            ),
        )

    def scripted(self, step: Status, *, model: str, credential: str) -> ErrorAnswer:
        """What Azure answers with the step's status."""
        headers = {} if step.retry_after is None else {"Retry-After": step.retry_after}
        match step.status, step.code:
            case 401, _:
                return self.refused_key(credential)
            case 404, _:
                return unknown_deployment()
            case 400, "content_filter":
                return _filtered_prompt()
            case 400, "context_length_exceeded":
                message = (
                    "This model's maximum context length is 128000 tokens. However, your messages "
                    f"resulted in 128001 tokens for {model}. Please reduce their length."
                )
                body = error_body(
                    message,
                    "invalid_request_error",
                    param="messages",
                    code="context_length_exceeded",
                )
                return ErrorAnswer(status=400, body=body)
            case status, "insufficient_quota":
                message = "You exceeded your current quota, please check your plan."
                body = error_body(message, "insufficient_quota", code="insufficient_quota")
                return ErrorAnswer(status=status, body=body, headers=headers)
            case status, wanted:
                code, message = _STATUSES.get(status, _STATUSES[500])
                text = message.format(retry_after=step.retry_after or "1")
                return _error(status, wanted or code, text, **headers)

    def late_error(self, model: str) -> ErrorAnswer:
        """The server's own fault."""
        return self.scripted(Status(status=500), model=model, credential="")

    def error_event(self, error: ErrorAnswer) -> bytes:
        """The error's body as an event like any other."""
        return b"data: " + msgspec.json.encode(error.body) + b"\n\n"
