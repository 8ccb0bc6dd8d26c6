"""What the answers of Anthropic's Messages API mean, wherever Claude runs."""

from dataclasses import dataclass
from typing import Final

import msgspec

from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import WholeReply
from services.dispatcher.outbound.providers.anthropic.messages_response import (
    decode_message,
    read_whole_reply,
)
from services.dispatcher.outbound.providers.anthropic.messages_stream import MessageEvents
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.form_as_tool import FormedEvents, formed
from services.dispatcher.outbound.providers.streamed_answer import SentEvents, failed

_NOT_A_MESSAGE: Final = failed("not_a_message")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesDialect:
    """`excludes_reasoning` keeps what the model thought out of the answer.

    `is_formed` is whether its form was asked for by a tool (`form_as_tool.py`).
    """

    excludes_reasoning: bool
    is_formed: bool

    def whole(self, body: bytes, failures: FailureReader) -> WholeReply | ProviderFailure:
        """A `message`, or the error that stands in its place."""
        try:
            wire = decode_message(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _NOT_A_MESSAGE
        if bytes(wire.error) not in {b"", b"null"}:
            return failures.from_error(wire.error)
        reply = read_whole_reply(wire, excludes_reasoning=self.excludes_reasoning)
        if reply is None:
            return _NOT_A_MESSAGE
        if self.is_formed:
            return msgspec.structs.replace(
                reply, choices=[formed(choice) for choice in reply.choices]
            )
        return reply

    def pieces(self, failures: FailureReader) -> SentEvents:
        """The reader of a stream of events."""
        events = MessageEvents(failures, excludes_reasoning=self.excludes_reasoning)
        return SentEvents(FormedEvents(events) if self.is_formed else events)
