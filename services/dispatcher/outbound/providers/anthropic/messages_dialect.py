"""What the answers of Anthropic's Messages API mean, wherever Claude runs."""

from dataclasses import dataclass
from typing import Final

import msgspec

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import WholeReply
from services.dispatcher.outbound.providers.anthropic.messages_response import (
    decode_message,
    read_whole_reply,
)
from services.dispatcher.outbound.providers.anthropic.messages_stream import MessagesReader
from services.dispatcher.outbound.providers.failures import FailureReader

_NOT_A_MESSAGE: Final = ProviderFailure(
    failure=FailureClass.PROVIDER_ERROR, status=200, code="not_a_message"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesDialect:
    """`excludes_reasoning` keeps what the model thought out of the answer."""

    excludes_reasoning: bool

    def whole(self, body: bytes, failures: FailureReader) -> WholeReply | ProviderFailure:
        """A `message`, or the error that stands in its place."""
        try:
            wire = decode_message(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _NOT_A_MESSAGE
        if bytes(wire.error) not in {b"", b"null"}:
            return failures.from_error(wire.error)
        reply = read_whole_reply(wire, excludes_reasoning=self.excludes_reasoning)
        return _NOT_A_MESSAGE if reply is None else reply

    def pieces(self, failures: FailureReader) -> MessagesReader:
        """The reader of a stream of events."""
        return MessagesReader(failures, excludes_reasoning=self.excludes_reasoning)
