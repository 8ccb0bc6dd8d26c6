"""An answer of a JSON schema from models that have no switch for it, by a tool that must be called.

The schema is the input of the only tool there is, and what the model calls it with is the answer. A
request that has tools of its own cannot be served so.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar

import msgspec

from services.dispatcher.domain.conversation import Conversation, JsonSchema, NamedTool, Tool
from services.dispatcher.domain.reply import StreamEnded, StreamPiece
from services.dispatcher.outbound.providers.streamed_answer import Meaning
from shared.events.replies import Choice, FinishReason, Message, ReplyDelta

NAME_CHARACTERS_MAX: Final = 64
_DESCRIPTION: Final = "Give the answer in this form."
_FOREIGN_TO_NAMES: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NOTHING: Final = Message()
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_Event = TypeVar("_Event")


def form_as_tool(conversation: Conversation) -> Conversation | None:
    """The same conversation with its form as a tool; None when that cannot be.

    Inputs of tools are objects, so a schema of anything else cannot be one.
    """
    form = conversation.answer_format
    if not isinstance(form, JsonSchema) or conversation.tools:
        return None
    if _decode_object(form.schema).get("type", "object") != "object":
        return None
    name = _FOREIGN_TO_NAMES.sub("_", form.name)[:NAME_CHARACTERS_MAX]
    tool = Tool(name=name, description=form.description or _DESCRIPTION, parameters=form.schema)
    return replace(
        conversation,
        tools=(tool,),
        tool_choice=NamedTool(name),
        parallel_tool_calls=False,
        answer_format="text",
    )


def formed(choice: Choice) -> Choice:
    """The whole answer, its first call told as its content; as it is when nothing was called."""
    calls = choice.message.tool_calls
    if not calls:
        return choice
    function = calls[0].function
    content = None if function is None else function.arguments
    return msgspec.structs.replace(
        choice,
        message=msgspec.structs.replace(choice.message, content=content, tool_calls=None),
        finish_reason=_finish(choice),
    )


class FormedEvents(Generic[_Event]):
    """The same for the events of a streamed answer.

    What the model says beside its call would break the JSON, so it is held back, and told at the end
    when there was no call after all.
    """

    __slots__ = ("_called", "_meaning", "_texts")

    def __init__(self, meaning: Meaning[_Event]) -> None:
        """`meaning` tells the call."""
        self._meaning = meaning
        self._texts: list[str] = []
        self._called = False

    def read(self, event: _Event) -> list[StreamPiece]:
        """The pieces of one event."""
        return [each for piece in self._meaning.read(event) for each in self._formed(piece)]

    def all_said(self) -> StreamEnded | None:
        """The end, when all was said before the body ended."""
        return self._meaning.all_said()

    def _formed(self, piece: StreamPiece) -> Iterator[StreamPiece]:
        if not isinstance(piece, ReplyDelta):
            yield piece
            return
        choices = [self._of_choice(choice) for choice in piece.choices]
        told = [each for each in choices if each.finish_reason or each.message != _NOTHING]
        if told:
            yield ReplyDelta(choices=told)

    def _of_choice(self, choice: Choice) -> Choice:
        message = choice.message
        if message.content:
            self._texts.append(message.content)
        content = ""
        for call in message.tool_calls or ():
            self._called = True
            if not call.index and call.function is not None:
                content += call.function.arguments or ""
        if choice.finish_reason is not None and not self._called:
            content = "".join(self._texts)
        return msgspec.structs.replace(
            choice,
            message=msgspec.structs.replace(message, content=content or None, tool_calls=None),
            finish_reason=_finish(choice),
        )


def _finish(choice: Choice) -> FinishReason | None:
    return "stop" if choice.finish_reason == "tool_calls" else choice.finish_reason
