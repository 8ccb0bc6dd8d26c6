"""Reading the events of ConverseStream: events in, pieces out. Does no I/O.

`messageStart`, then blocks, `messageStop` with the reason, then `metadata` with the usage. A block of
text or thinking has no `contentBlockStart`. A stream that ends without `messageStop` has failed.
"""

from typing import Any, Final

import msgspec

from services.dispatcher.domain.reply import StreamEnded, StreamPiece, UsageSeen
from services.dispatcher.outbound.providers.answer_blocks import OpenBlocks
from services.dispatcher.outbound.providers.anthropic.content_blocks import FORMAT
from services.dispatcher.outbound.providers.bedrock.converse_response import (
    WireToolUse,
    WireUsage,
    encrypted,
    normalised,
    read_usage,
)
from services.dispatcher.outbound.providers.streamed_answer import failed
from shared.events.replies import Choice, Message, ReasoningText, ReplyDelta
from shared.events.usage import Usage


class _Reasoning(msgspec.Struct, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: bytes | None = None


class _ToolInput(msgspec.Struct):
    input: str | None = None


class _Delta(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolInput | None = None
    reasoning_content: _Reasoning | None = None


class _Start(msgspec.Struct, rename="camel"):
    tool_use: WireToolUse | None = None


class _BlockEvent(msgspec.Struct, rename="camel"):
    content_block_index: int = 0
    start: _Start | None = None
    delta: _Delta | None = None


class _Stop(msgspec.Struct, rename="camel"):
    stop_reason: str


class _Metadata(msgspec.Struct):
    usage: WireUsage | None = None


class _Event(msgspec.Struct, rename="camel"):
    content_block_start: _BlockEvent | None = None
    content_block_delta: _BlockEvent | None = None
    content_block_stop: _BlockEvent | None = None
    message_stop: _Stop | None = None
    metadata: _Metadata | None = None


_NOT_AN_EVENT: Final = failed("not_an_event")


class ConverseEvents:
    """What the events of one answer say, as botocore hands them out."""

    def __init__(self, *, is_claude: bool, excludes_reasoning: bool) -> None:
        """`excludes_reasoning` keeps what the model thought out of the answer."""
        self._format = FORMAT if is_claude else None
        self._excludes_reasoning = excludes_reasoning
        self._blocks = OpenBlocks()
        self._stopped = False
        self._usage: Usage | None = None

    def read(self, event: dict[str, Any]) -> list[StreamPiece]:
        """The pieces of one event."""
        try:
            wire = msgspec.convert(event, _Event, builtin_types=(bytes,))
        except msgspec.ValidationError:
            return [_NOT_AN_EVENT]
        if wire.message_stop is not None:
            self._stopped = True
            native = wire.message_stop.stop_reason
            choice = Choice(
                message=Message(), finish_reason=normalised(native), native_finish_reason=native
            )
            return [ReplyDelta(choices=[choice])]
        if wire.metadata is not None:
            return self._metadata(wire.metadata)
        message = self._of_block(wire)
        return [] if message is None else [ReplyDelta(choices=[Choice(message=message)])]

    def all_said(self) -> StreamEnded | None:
        """The end, once the stop reason was told."""
        return StreamEnded(usage=self._usage) if self._stopped else None

    def _metadata(self, told: _Metadata) -> list[StreamPiece]:
        usage = read_usage(told.usage)
        self._usage = usage or self._usage
        pieces: list[StreamPiece] = [] if usage is None else [UsageSeen(usage)]
        ended = self.all_said()
        return pieces if ended is None else [*pieces, ended]

    def _of_block(self, wire: _Event) -> Message | None:
        started, moved, stopped = (
            wire.content_block_start,
            wire.content_block_delta,
            wire.content_block_stop,
        )
        if started is not None and started.start is not None and started.start.tool_use is not None:
            told = started.start.tool_use
            return self._blocks.begin_call(
                started.content_block_index, call_id=told.tool_use_id or "", name=told.name or ""
            )
        if moved is not None and moved.delta is not None:
            return self._continue(moved.content_block_index, moved.delta)
        return None if stopped is None else self._blocks.end(stopped.content_block_index)

    def _continue(self, at: int, delta: _Delta) -> Message | None:
        if delta.text:
            return Message(content=delta.text)
        if delta.tool_use is not None and delta.tool_use.input:
            return self._blocks.input_piece(at, delta.tool_use.input)
        if delta.reasoning_content is not None and not self._excludes_reasoning:
            return self._thought(at, delta.reasoning_content)
        return None

    def _thought(self, at: int, told: _Reasoning) -> Message | None:
        index = self._blocks.thought(at)
        if told.redacted_content is not None:
            return Message(reasoning_details=[encrypted(told.redacted_content, index)])
        if told.signature:
            signed = ReasoningText(signature=told.signature, format=self._format, index=index)
            return Message(reasoning_details=[signed])
        if not told.text:
            return None
        detail = ReasoningText(text=told.text, format=self._format, index=index)
        return Message(reasoning=told.text, reasoning_details=[detail])
