"""Reading the events of ConverseStream: events in, pieces out. Does no I/O.

`messageStart`, then blocks, `messageStop` with the reason, then `metadata` with the usage. A block of
text or thinking has no `contentBlockStart`. A stream that ends without `messageStop` has failed.
"""

from typing import Any, Final

import msgspec

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, StreamPiece, UsageSeen
from services.dispatcher.outbound.providers.anthropic.content_blocks import FORMAT
from services.dispatcher.outbound.providers.bedrock.converse_response import (
    WireToolUse,
    WireUsage,
    encrypted,
    normalised,
    read_usage,
)
from services.dispatcher.outbound.providers.failures import after_first_token
from shared.events.replies import (
    Choice,
    FunctionCall,
    Message,
    ReasoningText,
    ReplyDelta,
    ToolCall,
)
from shared.events.usage import Usage

_EMPTY_INPUT: Final = "{}"


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


def _failed(code: str) -> ProviderFailure:
    return ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=200, code=code)


_NOT_AN_EVENT: Final = _failed("not_an_event")
_ENDED_EARLY: Final = _failed("ended_early")


class ConverseReader:
    """Reads one stream. After a StreamEnded or a ProviderFailure `ended` is True, and it is over."""

    def __init__(self, *, is_claude: bool, excludes_reasoning: bool) -> None:
        """`excludes_reasoning` keeps what the model thought out of the answer."""
        self._format = FORMAT if is_claude else None
        self._excludes_reasoning = excludes_reasoning
        self._tools: dict[int, int] = {}  # a block's index among blocks: among tool calls
        self._tools_without_input: set[int] = set()
        self._thoughts: dict[int, int] = {}
        self._token_seen = False
        self._stopped = False
        self._usage: Usage | None = None
        self.ended = False

    def read(self, event: dict[str, Any]) -> list[StreamPiece]:
        """The pieces of one event, as botocore hands it out."""
        try:
            wire = msgspec.convert(event, _Event, builtin_types=(bytes,))
        except msgspec.ValidationError:
            return [self.fail(_NOT_AN_EVENT)]
        if wire.message_stop is not None:
            self._stopped = True
            native = wire.message_stop.stop_reason
            choice = Choice(
                message=Message(),
                finish_reason=normalised(native),
                native_finish_reason=native,
            )
            return [ReplyDelta(choices=[choice])]
        if wire.metadata is not None:
            return self._metadata(wire.metadata)
        message = self._of_block(wire)
        if message is None:
            return []
        self._token_seen |= bool(message.content or message.reasoning or message.tool_calls)
        return [ReplyDelta(choices=[Choice(message=message)])]

    def end(self) -> StreamPiece:
        """The last piece when no more events come."""
        if not self._stopped:
            return self.fail(_ENDED_EARLY)
        self.ended = True
        return StreamEnded(usage=self._usage)

    def fail(self, failure: ProviderFailure) -> StreamPiece:
        """The last piece when an exception came or the connection broke; all well if all was said."""
        if self._stopped:
            return self.end()
        self.ended = True
        return after_first_token(failure) if self._token_seen else failure

    def _metadata(self, told: _Metadata) -> list[StreamPiece]:
        usage = read_usage(told.usage)
        self._usage = usage or self._usage
        pieces: list[StreamPiece] = [] if usage is None else [UsageSeen(usage)]
        return [*pieces, self.end()] if self._stopped else pieces

    def _of_block(self, wire: _Event) -> Message | None:
        started, moved, stopped = (
            wire.content_block_start,
            wire.content_block_delta,
            wire.content_block_stop,
        )
        if started is not None and started.start is not None and started.start.tool_use is not None:
            return self._begin(started.content_block_index, started.start.tool_use)
        if moved is not None and moved.delta is not None:
            return self._continue(moved.content_block_index, moved.delta)
        if stopped is not None and stopped.content_block_index in self._tools_without_input:
            return self._arguments(stopped.content_block_index, _EMPTY_INPUT)
        return None

    def _begin(self, at: int, told: WireToolUse) -> Message:
        index = self._tools[at] = len(self._tools)
        self._tools_without_input.add(at)
        function = FunctionCall(name=told.name or "", arguments="")
        call = ToolCall(index=index, id=told.tool_use_id or "", type="function", function=function)
        return Message(tool_calls=[call])

    def _continue(self, at: int, delta: _Delta) -> Message | None:
        if delta.text:
            return Message(content=delta.text)
        if delta.tool_use is not None and delta.tool_use.input and at in self._tools:
            return self._arguments(at, delta.tool_use.input)
        if delta.reasoning_content is not None and not self._excludes_reasoning:
            return self._thought(at, delta.reasoning_content)
        return None

    def _arguments(self, at: int, piece: str) -> Message:
        self._tools_without_input.discard(at)
        call = ToolCall(index=self._tools[at], function=FunctionCall(arguments=piece))
        return Message(tool_calls=[call])

    def _thought(self, at: int, told: _Reasoning) -> Message | None:
        index = self._thoughts.setdefault(at, len(self._thoughts))
        if told.redacted_content is not None:
            return Message(reasoning_details=[encrypted(told.redacted_content, index)])
        if told.signature:
            signed = ReasoningText(signature=told.signature, format=self._format, index=index)
            return Message(reasoning_details=[signed])
        if not told.text:
            return None
        detail = ReasoningText(text=told.text, format=self._format, index=index)
        return Message(reasoning=told.text, reasoning_details=[detail])
