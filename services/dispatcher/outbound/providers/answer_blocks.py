"""Answers that are made of blocks, as Anthropic's Messages and Bedrock's Converse give them."""

from collections.abc import Sequence
from typing import Final

from shared.events.replies import (
    Choice,
    FinishReason,
    FunctionCall,
    Message,
    ReasoningDetail,
    ReasoningText,
    ToolCall,
)

_EMPTY_INPUT: Final = "{}"


def whole_choice(
    *,
    texts: Sequence[str],
    details: list[ReasoningDetail],
    calls: list[ToolCall],
    finish_reason: FinishReason,
    native: str,
) -> Choice:
    """The one choice that all blocks together are; `details` are what was thought."""
    thoughts = "".join(
        detail.text for detail in details if isinstance(detail, ReasoningText) and detail.text
    )
    message = Message(
        role="assistant",
        content="".join(texts) if texts or not calls else None,
        reasoning=thoughts or None,
        reasoning_details=details or None,
        tool_calls=calls or None,
    )
    return Choice(message=message, finish_reason=finish_reason, native_finish_reason=native)


class OpenBlocks:
    """The blocks of a streamed answer: which of them is which tool call, and which thought.

    `at` is a block's place among all blocks; clients count tool calls and thoughts by themselves.
    """

    __slots__ = ("_thoughts", "_tools", "_without_input")

    def __init__(self) -> None:
        """Begin before the first block."""
        self._tools: dict[int, int] = {}
        self._without_input: set[int] = set()
        self._thoughts: dict[int, int] = {}

    def begin_call(self, at: int, *, call_id: str, name: str) -> Message:
        """A tool is called; its input follows in pieces."""
        index = self._tools[at] = len(self._tools)
        self._without_input.add(at)
        function = FunctionCall(name=name, arguments="")
        call = ToolCall(index=index, id=call_id, type="function", function=function)
        return Message(tool_calls=[call])

    def input_piece(self, at: int, piece: str) -> Message | None:
        """A piece of a call's input; None when that block is no call."""
        if at not in self._tools:
            return None
        self._without_input.discard(at)
        return _arguments(self._tools[at], piece)

    def end(self, at: int) -> Message | None:
        """The block is complete: a call to which no input came has an empty object for one."""
        if at not in self._without_input:
            return None
        return self.input_piece(at, _EMPTY_INPUT)

    def thought(self, at: int) -> int:
        """The place of this block among the thoughts."""
        return self._thoughts.setdefault(at, len(self._thoughts))


def _arguments(index: int, piece: str) -> Message:
    return Message(tool_calls=[ToolCall(index=index, function=FunctionCall(arguments=piece))])
