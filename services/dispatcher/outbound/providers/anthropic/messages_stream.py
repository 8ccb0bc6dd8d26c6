"""Reading a stream of Anthropic's Messages API: bytes in, pieces out. Does no I/O.

Grammar: platform.claude.com/docs/en/build-with-claude/streaming. `message_start`, then blocks, each
with start, deltas and stop, then `message_delta` with the stop reason, then `message_stop`; `ping`
and `error` anywhere, and events of types not known yet. Text of tool calls comes as pieces of JSON.
A stream that ends without stop reason has failed.
"""

from typing import Final

import msgspec

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, StreamPiece, UsageSeen
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
from services.dispatcher.outbound.providers.failures import FailureReader, after_first_token
from services.dispatcher.outbound.providers.server_sent_events import EventReader, StreamTooLarge
from shared.events.replies import (
    Choice,
    FinishReason,
    FunctionCall,
    Message,
    ReasoningEncrypted,
    ReasoningText,
    ReplyDelta,
    ToolCall,
)

_ABSENT: Final = msgspec.Raw()
_EMPTY_INPUT: Final = "{}"


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


def _failed(code: str) -> ProviderFailure:
    return ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=200, code=code)


_TOO_LARGE: Final = _failed("answer_too_large")
_NO_MESSAGE: Final = _failed("not_a_message")
_ENDED_EARLY: Final = _failed("ended_early")


class MessagesReader:
    """Reads one stream. After a StreamEnded or a ProviderFailure `ended` is True, and it is over."""

    __slots__ = (
        "_events",
        "_excludes_reasoning",
        "_failures",
        "_stopped",
        "_thoughts",
        "_token_seen",
        "_tools",
        "_tools_without_input",
        "_usage",
        "ended",
    )

    def __init__(self, failures: FailureReader, *, excludes_reasoning: bool) -> None:
        """`failures` reads the errors that may stand in the stream."""
        self._events = EventReader()
        self._failures = failures
        self._excludes_reasoning = excludes_reasoning
        self._tools: dict[int, int] = {}  # a block's index among blocks: among tool calls
        self._tools_without_input: set[int] = set()
        self._thoughts: dict[int, int] = {}
        self._token_seen = False
        self._stopped = False
        self._usage = WireUsage()
        self.ended = False

    def feed(self, piece: bytes) -> list[StreamPiece]:
        """The pieces that these bytes complete."""
        try:
            events = self._events.feed(piece)
        except StreamTooLarge:
            return [self._fail(_TOO_LARGE)]
        return self._read(events)

    def end(self) -> list[StreamPiece]:
        """The pieces that the end of the body completes; the last one ends the stream."""
        pieces = self._read(self._events.end())
        if not self.ended:
            pieces.append(self.break_off(_ENDED_EARLY))
        return pieces

    def break_off(self, failure: ProviderFailure) -> StreamPiece:
        """The last piece when the connection ends or breaks; all well if all was said before."""
        return self._end_well() if self._stopped else self._fail(failure)

    def _fail(self, failure: ProviderFailure) -> ProviderFailure:
        self.ended = True
        return after_first_token(failure) if self._token_seen else failure

    def _end_well(self) -> StreamEnded:
        self.ended = True
        return StreamEnded(usage=read_usage(self._usage), service_tier=self._usage.service_tier)

    def _read(self, events: list[bytes]) -> list[StreamPiece]:
        pieces: list[StreamPiece] = []
        for data in events:
            try:
                event = _decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pieces.append(self._fail(_NO_MESSAGE))
                break
            pieces.extend(self._take(event))
            if self.ended:
                break
        return pieces

    def _take(self, event: _Event) -> list[StreamPiece]:
        match event.type:
            case "error":
                return [self._fail(self._failures.from_error(event.error))]
            case "message_stop":
                return [self._end_well() if self._stopped else self._fail(_ENDED_EARLY)]
            case "message_start":
                return self._used(None if event.message is None else event.message.usage)
            case "message_delta":
                return self._stop(event)
            case "content_block_start" | "content_block_delta" | "content_block_stop":
                message = self._of_block(event)
                return [] if message is None else [self._delta(message)]
            case _:
                return []

    def _delta(self, message: Message) -> ReplyDelta:
        if message.content or message.reasoning or message.tool_calls:
            self._token_seen = True
        return ReplyDelta(choices=[Choice(message=message)])

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
            reason: FinishReason = normalised(native)
            choice = Choice(message=Message(), finish_reason=reason, native_finish_reason=native)
            pieces.append(ReplyDelta(choices=[choice]))
        return pieces + self._used(event.usage)

    def _of_block(self, event: _Event) -> Message | None:
        at = event.index or 0
        if event.type == "content_block_start":
            return None if event.content_block is None else self._begin(at, event.content_block)
        if event.type == "content_block_stop":
            if at not in self._tools_without_input:
                return None
            self._tools_without_input.discard(at)
            return self._arguments(at, _EMPTY_INPUT)
        return None if event.delta is None else self._continue(at, event.delta)

    def _begin(self, at: int, block: WireBlock) -> Message | None:
        match block.type:
            case "text":
                return Message(content=block.text) if block.text else None
            case "tool_use":
                index = self._tools[at] = len(self._tools)
                self._tools_without_input.add(at)
                function = FunctionCall(name=block.name or "", arguments="")
                call = ToolCall(index=index, id=block.id or "", type="function", function=function)
                return Message(tool_calls=[call])
            case "thinking" | "redacted_thinking" if not self._excludes_reasoning:
                index = self._thoughts[at] = len(self._thoughts)
                detail = read_thought(block, index=index)
                if isinstance(detail, ReasoningEncrypted):
                    return Message(reasoning_details=[detail])
                return self._thought(at, block.thinking) if block.thinking else None
            case _:
                return None

    def _continue(self, at: int, delta: _Delta) -> Message | None:
        match delta.type:
            case "text_delta":
                return Message(content=delta.text) if delta.text else None
            case "input_json_delta" if delta.partial_json and at in self._tools:
                self._tools_without_input.discard(at)
                return self._arguments(at, delta.partial_json)
            case "thinking_delta" if delta.thinking and at in self._thoughts:
                return self._thought(at, delta.thinking)
            case "signature_delta" if delta.signature and at in self._thoughts:
                signed = ReasoningText(
                    signature=delta.signature, format=FORMAT, index=self._thoughts[at]
                )
                return Message(reasoning_details=[signed])
            case _:
                return None

    def _arguments(self, at: int, piece: str) -> Message:
        call = ToolCall(index=self._tools[at], function=FunctionCall(arguments=piece))
        return Message(tool_calls=[call])

    def _thought(self, at: int, text: str) -> Message:
        detail = ReasoningText(text=text, format=FORMAT, index=self._thoughts[at])
        return Message(reasoning=text, reasoning_details=[detail])
