"""The shape of `chat.completion` and its chunks, which OpenAI and Azure share.

Azure adds content filter results to every choice: `choice_extra` to those with content,
`bare_choice_extra` to those without.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.simulator.answer import FINGERPRINT, Answer, Events, ToolCall, usage_body

DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.encode


def _begun(index: int, call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": ""}
    return {"index": index, "id": call.id, "type": "function", "function": function}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatShape:
    """Writes answers; what differs between the two wires is in the fields."""

    completion_extra: dict[str, Any] = field(default_factory=dict)
    choice_extra: dict[str, Any] = field(default_factory=dict)
    bare_choice_extra: dict[str, Any] = field(default_factory=dict)

    def completion(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.text,
            "refusal": None,
            "annotations": [],
        }
        if answer.tool_calls:
            message["content"] = None
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in answer.tool_calls
            ]
        body = {
            "id": answer.id,
            "object": "chat.completion",
            "created": answer.created,
            "model": answer.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": answer.finish_reason,
                    **self.choice_extra,
                }
            ],
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
            **self.completion_extra,
        }
        if answer.usage_told:
            body["usage"] = usage_body(answer.usage)
        return _encode(body)

    def events(self, answer: Answer) -> Events:
        """The events of a streamed answer."""
        # One chunk is the template around its choices; encoding it once keeps long streams cheap.
        template = _encode(
            {
                "id": answer.id,
                "object": "chat.completion.chunk",
                "created": answer.created,
                "model": answer.model,
                "service_tier": "default",
                "system_fingerprint": FINGERPRINT,
            }
        )
        head = b"data: " + template[:-1] + b',"choices":['
        tail = (b'],"usage":null}' if answer.usage_chunk else b"]}") + b"\n\n"

        def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return head + _encode(choice | self.bare_choice_extra) + tail

        if not answer.tool_calls:
            opening = chunk({"role": "assistant", "content": "", "refusal": None})
            pieces = self._text_pieces(answer.words, head, tail)
        else:
            begun = {"role": "assistant", "content": None}
            first, *others = (_begun(at, call) for at, call in enumerate(answer.tool_calls))
            opening = chunk(begun | {"tool_calls": [first]})
            opening += b"".join(chunk({"tool_calls": [other]}) for other in others)
            pieces = [
                chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
                for at, call in enumerate(answer.tool_calls)
                for piece in call.pieces
            ]
        closing = chunk({}, answer.finish_reason)
        if answer.usage_chunk:
            told = _encode(usage_body(answer.usage))
            closing += head + b'],"usage":' + told + b"}\n\n"
        return Events(opening=opening, pieces=pieces, closing=closing + DONE)

    def _text_pieces(self, words: list[str], head: bytes, tail: bytes) -> list[bytes]:
        mark = "\x00"
        choice = {"index": 0, "delta": {"content": mark}, "logprobs": None, "finish_reason": None}
        before, after = _encode(choice | self.choice_extra).split(b"\\u0000")
        before, after = head + before, after + tail
        # Every word but the first brings the blank before it, as tokens do.
        return [
            before + (b" " if index else b"") + word.encode() + after
            for index, word in enumerate(words)
        ]
