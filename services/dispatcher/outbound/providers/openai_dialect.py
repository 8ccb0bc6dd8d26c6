"""What the answers of providers that speak OpenAI's chat completions mean."""

from dataclasses import dataclass
from typing import Final

import msgspec

from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import WholeReply
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.openai_response import (
    decode_completion,
    is_given,
    read_whole_reply,
)
from services.dispatcher.outbound.providers.openai_stream import CompletionChunks
from services.dispatcher.outbound.providers.quirks import Quirks
from services.dispatcher.outbound.providers.streamed_answer import SentEvents, failed

_NOT_A_COMPLETION: Final = failed("not_a_completion")
_GAVE_UP: Final = failed("finish_reason_error")


@dataclass(frozen=True, slots=True)
class OpenAIDialect:
    """Chat completions and their chunks, with one provider's quirks."""

    quirks: Quirks

    def whole(self, body: bytes, failures: FailureReader) -> WholeReply | ProviderFailure:
        """A `chat.completion`, or the error that stands in its place."""
        try:
            completion = decode_completion(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _NOT_A_COMPLETION
        if is_given(completion.error):
            return failures.from_error(completion.error)
        for choice in completion.choices or ():
            if is_given(choice.error):
                return failures.from_error(choice.error)
        reply = read_whole_reply(completion, self.quirks)
        if reply is None:
            return _NOT_A_COMPLETION
        return _GAVE_UP if any(each.finish_reason == "error" for each in reply.choices) else reply

    def pieces(self, failures: FailureReader) -> SentEvents:
        """The reader of a stream of chunks."""
        return SentEvents(CompletionChunks(self.quirks, failures))
