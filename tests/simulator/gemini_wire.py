"""Gemini's generateContent: chunks of one shape, SSE lines that end with CRLF, no `[DONE]`."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tests.simulator.answer import Answer, Events
from tests.simulator.call_log import WireName
from tests.simulator.errors import ErrorAnswer, RequestRefused
from tests.simulator.gemini_models import GEMINIS
from tests.simulator.gemini_request import SIGNATURE
from tests.simulator.google_errors import google_error, scripted_google
from tests.simulator.scripts import Status

_FINISH_REASONS: Final = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


class GeminiWire:
    """Gemini's way to say things."""

    @property
    def name(self) -> WireName:
        """`gemini`."""
        return "gemini"

    def completion(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        parts = [*_thoughts(answer), *_calls(answer)]
        if answer.words or not parts:
            parts.append({"text": answer.text})
        return msgspec.json.encode(_chunk(answer, parts, ends=True))

    def events(self, answer: Answer) -> Events:
        """The events of a streamed answer; usage comes with the last."""
        opening = b"".join(_event(_chunk(answer, [part])) for part in _thoughts(answer))
        if answer.tool_calls:
            pieces = [_event(_chunk(answer, [call])) for call in _calls(answer)]
        else:
            pieces = [
                _event(_chunk(answer, [{"text": f" {word}" if at else word}]))
                for at, word in enumerate(answer.words)
            ]
        return Events(
            opening=opening,
            pieces=pieces,
            closing=_event(_chunk(answer, [{"text": ""}], ends=True)),
        )

    def refused_key(self, credential: str | None) -> ErrorAnswer:  # noqa: ARG002 - as every wire
        """401."""
        return self.scripted(Status(status=401), model="", credential="")

    def refused_request(self, refusal: RequestRefused) -> ErrorAnswer:
        """400."""
        return google_error(400, "INVALID_ARGUMENT", refusal.message)

    def scripted(self, step: Status, *, model: str, credential: str) -> ErrorAnswer:  # noqa: ARG002 - as every wire
        """What Gemini answers; a prompt that is filtered is a 200 that says so."""
        if step.code == "content_filter":
            body = {
                "promptFeedback": {
                    "blockReason": "PROHIBITED_CONTENT",
                    "blockReasonMessage": "The prompt was blocked.",
                },
                "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
            }
            return ErrorAnswer(status=200, body=body)
        return scripted_google(step, model=model, in_list=False)

    def late_error(self, model: str) -> ErrorAnswer:
        """The server's own fault."""
        return self.scripted(Status(status=500), model=model, credential="")

    def error_event(self, error: ErrorAnswer) -> bytes:
        """The error's body as an event like any other."""
        return _event(error.body)


def _chunk(answer: Answer, parts: list[dict[str, Any]], *, ends: bool = False) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}}
    told: dict[str, Any] = {"trafficType": "ON_DEMAND"}
    if ends:
        candidate["finishReason"] = _FINISH_REASONS[answer.finish_reason]
        told |= _usage(answer) if answer.usage_told else {}
    return {
        "candidates": [candidate],
        "usageMetadata": told,
        "modelVersion": answer.model,
        "responseId": answer.id,
    }


def _usage(answer: Answer) -> dict[str, int]:
    """Google's counts: thoughts apart from candidates, the cache inside the prompt, no zeros."""
    used = answer.usage
    counts = {
        "promptTokenCount": used.prompt_tokens,
        "candidatesTokenCount": used.completion_tokens - used.reasoning_tokens,
        "thoughtsTokenCount": used.reasoning_tokens,
        "cachedContentTokenCount": used.cached_tokens,
        "totalTokenCount": used.prompt_tokens + used.completion_tokens,
    }
    return {name: count for name, count in counts.items() if count}


def _thoughts(answer: Answer) -> list[dict[str, Any]]:
    return [] if answer.thought is None else [{"text": answer.thought, "thought": True}]


def _calls(answer: Answer) -> list[dict[str, Any]]:
    """The calls; only the first is signed, and only by a model that thinks."""
    parts: list[dict[str, Any]] = [
        {"functionCall": {"name": call.name, "args": msgspec.json.decode(call.arguments)}}
        for call in answer.tool_calls
    ]
    if parts and GEMINIS[answer.model].thinks:
        parts[0]["thoughtSignature"] = SIGNATURE
    return parts


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\r\n\r\n"
