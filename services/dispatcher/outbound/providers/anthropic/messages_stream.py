"""Reading a stream of Anthropic's Messages API: events in, pieces out. Does no I/O.

Grammar: platform.claude.com/docs/en/build-with-claude/streaming. `message_start`, then blocks, each
with start, deltas and stop, then `message_delta` with the stop reason, then `message_stop`; `ping`
and `error` anywhere, and events of types not known yet. Text of tool calls comes as pieces of JSON.
A stream that ends without stop reason has failed.
"""

from typing import Final

import msgspec

from services.dispatcher.domain.reply import (
    AnswerNamed,
    StreamEnded,
    StreamPiece,
    UsageSeen,
    upstream_id,
)
from services.dispatcher.outbound.providers.answer_blocks import OpenBlocks
from services.dispatcher.outbound.providers.anthropic.content_blocks import FORMAT
from services.dispatcher.outbound.providers.anthropic.messages_response import (
    WireBlock,
    WireMessage,
    WireUsage,
    later_usage,
    normalised,
    read_thought,
    read_usage,
)
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.streamed_answer import ENDED_EARLY, failed
from shared.events.replies import (
    Choice,
    Message,
    ReasoningEncrypted,
    ReasoningText,
    ReplyDelta,
)

_ABSENT: Final = msgspec.Raw()


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    index: int | None = None
    message: WireMessage | None = None
    content_block: WireBlock | None = None
    delta: _Delta | None = None
    usage: WireUsage | None = None
    error: msgspec.Raw = _ABSENT


_decode = msgspec.json.Decoder(_Event, strict=False).decode
_NO_MESSAGE: Final = failed("not_a_message")


class MessageEvents:
    """What the events of one answer say."""

    __slots__ = ("_blocks", "_excludes_reasoning", "_failures", "_stopped", "_usage")

    def __init__(self, failures: FailureReader, *, excludes_reasoning: bool) -> None:
        """`failures` reads the errors that may stand in the stream."""
        self._failures = failures
        self._excludes_reasoning = excludes_reasoning
        self._blocks = OpenBlocks()
        self._stopped = False
        self._usage = WireUsage()

    def read(self, event: bytes) -> list[StreamPiece]:
        """The pieces of one event."""
        try:
            wire = _decode(event)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return [_NO_MESSAGE]
        return self._take(wire)

    def all_said(self) -> StreamEnded | None:
        """The end, once the stop reason was told."""
        if not self._stopped:
            return None
        return StreamEnded(usage=read_usage(self._usage), service_tier=self._usage.service_tier)

    def _take(self, wire: _Event) -> list[StreamPiece]:
        match wire.type:
            case "error":
                return [self._failures.from_error(wire.error)]
            case "message_stop":
                return [self.all_said() or ENDED_EARLY]
            case "message_start":
                return [] if wire.message is None else self._start(wire.message)
            case "message_delta":
                return self._stop(wire)
            case "content_block_start" | "content_block_delta" | "content_block_stop":
                message = self._of_block(wire)
                return [] if message is None else [ReplyDelta(choices=[Choice(message=message)])]
            case _:
                return []

    def _start(self, message: WireMessage) -> list[StreamPiece]:
        name = upstream_id(message.id)
        used = self._used(message.usage)
        return used if name is None else [AnswerNamed(name), *used]

    def _used(self, told: WireUsage | None) -> list[StreamPiece]:
        if told is None:
            return []
        self._usage = later_usage(self._usage, told)
        usage = read_usage(self._usage)
        return [] if usage is None else [UsageSeen(usage)]

    def _stop(self, event: _Event) -> list[StreamPiece]:
        pieces: list[StreamPiece] = []
        native = None if event.delta is None else event.delta.stop_reason
        if native is not None:
            self._stopped = True
            choice = Choice(
                message=Message(), finish_reason=normalised(native), native_finish_reason=native
            )
            pieces.append(ReplyDelta(choices=[choice]))
        return pieces + self._used(event.usage)

    def _of_block(self, event: _Event) -> Message | None:
        at = event.index or 0
        if event.type == "content_block_start":
            return None if event.content_block is None else self._begin(at, event.content_block)
        if event.type == "content_block_stop":
            return self._blocks.end(at)
        return None if event.delta is None else self._continue(at, event.delta)

    def _begin(self, at: int, block: WireBlock) -> Message | None:
        match block.type:
            case "text":
                return Message(content=block.text) if block.text else None
            case "tool_use":
                return self._blocks.begin_call(at, call_id=block.id or "", name=block.name or "")
            case "thinking" | "redacted_thinking" if not self._excludes_reasoning:
                detail = read_thought(block, index=self._blocks.thought(at))
                if isinstance(detail, ReasoningEncrypted):
                    return Message(reasoning_details=[detail])
                return self._thought(at, block.thinking) if block.thinking else None
            case _:
                return None

    def _continue(self, at: int, delta: _Delta) -> Message | None:
        match delta.type:
            case "text_delta":
                return Message(content=delta.text) if delta.text else None
            case "input_json_delta" if delta.partial_json:
                return self._blocks.input_piece(at, delta.partial_json)
            case "thinking_delta" if delta.thinking and not self._excludes_reasoning:
                return self._thought(at, delta.thinking)
            case "signature_delta" if delta.signature and not self._excludes_reasoning:
                index = self._blocks.thought(at)
                signed = ReasoningText(signature=delta.signature, format=FORMAT, index=index)
                return Message(reasoning_details=[signed])
            case _:
                return None

    def _thought(self, at: int, text: str) -> Message:
        detail = ReasoningText(text=text, format=FORMAT, index=self._blocks.thought(at))
        return Message(reasoning=text, reasoning_details=[detail])
