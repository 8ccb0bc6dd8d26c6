"""What the answers of Converse and ConverseStream mean."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import WholeReply
from services.dispatcher.outbound.providers.bedrock.converse_response import read_answer
from services.dispatcher.outbound.providers.bedrock.converse_stream import ConverseEvents
from services.dispatcher.outbound.providers.form_as_tool import FormedEvents, formed
from services.dispatcher.outbound.providers.streamed_answer import StreamedAnswer, failed

_NOT_CONVERSE: Final = failed("not_converse")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverseDialect:
    """`excludes_reasoning` keeps what the model thought out of the answer.

    `is_formed` is whether its form was asked for by a tool (`form_as_tool.py`).
    """

    is_claude: bool
    excludes_reasoning: bool
    is_formed: bool

    def whole(self, answer: dict[str, Any]) -> WholeReply | ProviderFailure:
        """An answer, as botocore has read it."""
        reply = read_answer(
            answer, is_claude=self.is_claude, excludes_reasoning=self.excludes_reasoning
        )
        if reply is None:
            return _NOT_CONVERSE
        if self.is_formed:
            return msgspec.structs.replace(
                reply, choices=[formed(choice) for choice in reply.choices]
            )
        return reply

    def pieces(self) -> StreamedAnswer[dict[str, Any]]:
        """The reader of a stream of events, as botocore hands them out."""
        events = ConverseEvents(
            is_claude=self.is_claude, excludes_reasoning=self.excludes_reasoning
        )
        return StreamedAnswer(FormedEvents(events) if self.is_formed else events)
