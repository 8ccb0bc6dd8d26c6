"""Amazon Bedrock's runtime: Converse's shapes, its events and its exceptions.

Reference: docs.aws.amazon.com/bedrock/latest/APIReference (Converse, ConverseStream, common errors);
texts of errors also from public reports (autumn 2026).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from tests.simulator.answer import Answer, Events
from tests.simulator.anthropic_messages import SIGNATURE
from tests.simulator.bedrock_auth import invalid_access_key, invalid_api_key, refusal
from tests.simulator.bedrock_frames import CONTENT_TYPE, event, exception
from tests.simulator.call_log import WireName
from tests.simulator.errors import ErrorAnswer, RequestRefused
from tests.simulator.scripts import Status

_STATUSES: Final[Mapping[int, tuple[int, str, str]]] = {
    400: (400, "ValidationException", "The request was refused."),
    402: (
        400,
        "ServiceQuotaExceededException",
        "You have exceeded the service quota for your account.",
    ),
    403: (
        403,
        "AccessDeniedException",
        (
            "User: arn:aws:iam::123456789012:user/simulator is not authorized to perform: "
            "bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/x because "
            "no identity-based policy allows the bedrock:InvokeModel action"
        ),
    ),
    404: (404, "ResourceNotFoundException", "Could not resolve the foundation model."),
    408: (408, "ModelTimeoutException", "The model timed out."),
    424: (424, "ModelErrorException", "The model failed."),
    429: (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    500: (500, "InternalServerException", "The system encountered an unexpected error."),
    503: (503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
}
_CODES: Final[Mapping[str, tuple[int, str, str]]] = {
    "insufficient_quota": _STATUSES[402],
    "context_length_exceeded": (
        400,
        "ValidationException",
        "The model returned the following errors: Input is too long for requested model.",
    ),
    "content_filter": (
        400,
        "ValidationException",
        "The model returned the following errors: Output blocked by content filtering policy",
    ),
    "on_demand": (
        400,
        "ValidationException",
        (
            "Invocation of model ID x with on-demand throughput isn\N{RIGHT SINGLE QUOTATION MARK}t "
            "supported. Retry your request with the ID or ARN of an inference profile that contains "
            "this model."
        ),
    ),
    "not_ready": (429, "ModelNotReadyException", "Model is not ready for inference."),
    "expired": (403, "ExpiredTokenException", "The security token in the request is expired"),
}
_STOP_REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class BedrockWire:
    """Bedrock's way to say things."""

    @property
    def name(self) -> WireName:
        """`bedrock`."""
        return "bedrock"

    def completion(self, answer: Answer) -> bytes:
        """The body of Converse's answer."""
        message = {"role": "assistant", "content": list(_blocks(answer))}
        body: dict[str, Any] = {
            "output": {"message": message},
            "stopReason": _stop_reason(answer),
            "metrics": {"latencyMs": 1},
        }
        if answer.usage_told:
            body["usage"] = _usage(answer)
        return msgspec.json.encode(body)

    def events(self, answer: Answer) -> Events:
        """The frames of ConverseStream's answer: a text is begun by its first delta."""
        opening = event("messageStart", {"role": "assistant"})
        at = 0
        if answer.thought is not None:
            opening += b"".join(_thinking(answer.thought))
            at = 1
        closing = b""
        if answer.tool_calls:
            pieces = list(_tools(answer, at))
        else:
            pieces = [_delta(at, {"text": text}) for text in _spaced(answer.words)]
            closing = _stop(at) if pieces else b""
        closing += event("messageStop", {"stopReason": _stop_reason(answer)})
        if answer.usage_told:
            told = {"usage": _usage(answer), "metrics": {"latencyMs": 1}}
            closing += event("metadata", told)
        return Events(opening=opening, pieces=pieces, closing=closing, content_type=CONTENT_TYPE)

    def refused_key(self, credential: str | None) -> ErrorAnswer:
        """403, by the form of the credential."""
        is_access_key = credential is not None and credential.startswith(("AKIA", "ASIA"))
        return invalid_access_key() if is_access_key else invalid_api_key()

    def refused_request(self, refused: RequestRefused) -> ErrorAnswer:
        """400."""
        return refusal(400, "ValidationException", refused.message)

    def scripted(self, step: Status, *, model: str, credential: str) -> ErrorAnswer:  # noqa: ARG002 - neither is told
        """What Bedrock answers; it has few statuses of its own."""
        if step.status == 401:
            return self.refused_key(credential)
        headers = {} if step.retry_after is None else {"Retry-After": step.retry_after}
        told = _CODES.get(step.code or "") or _STATUSES.get(step.status) or _STATUSES[503]
        status, kind, message = told
        return refusal(status, kind, message, **headers)

    def late_error(self, model: str) -> ErrorAnswer:  # noqa: ARG002 - it is not told
        """What a stream most often ends with when it ends badly."""
        return refusal(424, "modelStreamErrorException", "The system encountered an error.")

    def error_event(self, error: ErrorAnswer) -> bytes:
        """A frame with an exception, whose type is spelt as in ConverseStream's output."""
        kind = str(error.headers["x-amzn-ErrorType"]).partition(":")[0]
        return exception(kind[0].lower() + kind[1:], error.body)


def _usage(answer: Answer) -> dict[str, int]:
    """Bedrock's counts: input tokens leave out what the cache gave and took."""
    used = answer.usage
    told = used.prompt_tokens - used.cached_tokens - used.cache_write_tokens
    return {
        "inputTokens": told,
        "outputTokens": used.completion_tokens,
        "totalTokens": used.prompt_tokens + used.completion_tokens,
        "cacheReadInputTokens": used.cached_tokens,
        "cacheWriteInputTokens": used.cache_write_tokens,
    }


def _stop_reason(answer: Answer) -> str:
    return "stop_sequence" if answer.stop is not None else _STOP_REASONS[answer.finish_reason]


def _blocks(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.thought is not None:
        told = {"text": answer.thought, "signature": SIGNATURE}
        yield {"reasoningContent": {"reasoningText": told}}
    if answer.words:
        yield {"text": answer.text}
    for call in answer.tool_calls:
        arguments = msgspec.json.decode(call.arguments)
        yield {"toolUse": {"toolUseId": _id(call.id), "name": call.name, "input": arguments}}


def _id(call_id: str) -> str:
    return "tooluse_" + call_id.removeprefix("call_")


def _spaced(words: list[str]) -> Iterator[str]:
    for at, word in enumerate(words):
        yield f" {word}" if at else word


def _thinking(thought: str) -> Iterator[bytes]:
    for piece in _spaced(thought.split()):
        yield _delta(0, {"reasoningContent": {"text": piece}})
    yield _delta(0, {"reasoningContent": {"signature": SIGNATURE}})
    yield _stop(0)


def _tools(answer: Answer, first: int) -> Iterator[bytes]:
    for at, call in enumerate(answer.tool_calls, start=first):
        start = {"toolUse": {"toolUseId": _id(call.id), "name": call.name}}
        yield event("contentBlockStart", {"contentBlockIndex": at, "start": start})
        if call.arguments != "{}":
            for piece in call.pieces:
                yield _delta(at, {"toolUse": {"input": piece}})
        yield _stop(at)


def _delta(at: int, delta: dict[str, Any]) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": at, "delta": delta})


def _stop(at: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": at})
