"""Reading a streamed chat completion: events in, pieces out. Does no I/O.

A stream has come to its proper end when it said `[DONE]`, or when every choice that it began gave
its finish reason. One that just ends has failed.
"""

from typing import Final

import msgspec

from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import (
    AnswerNamed,
    StreamEnded,
    StreamPiece,
    UsageSeen,
    upstream_id,
)
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.openai_response import (
    WireCompletion,
    decode_completion,
    is_given,
    normalised,
    read_choice,
    read_usage,
)
from services.dispatcher.outbound.providers.quirks import Quirks
from services.dispatcher.outbound.providers.streamed_answer import failed
from shared.events.replies import Choice, Message, ReplyDelta
from shared.events.usage import Usage

_DONE: Final = b"[DONE]"
_NOTHING: Final = Message()


_NO_COMPLETION: Final = failed("not_a_completion")
_GAVE_UP: Final = failed("finish_reason_error")


class CompletionChunks:
    """What the chunks of one answer say."""

    __slots__ = (
        "_begun",
        "_failures",
        "_fingerprint",
        "_named",
        "_quirks",
        "_tier",
        "_unfinished",
        "_usage",
    )

    def __init__(self, quirks: Quirks, failures: FailureReader) -> None:
        """`failures` reads the errors that may stand in the stream."""
        self._quirks = quirks
        self._failures = failures
        self._begun = False
        self._named = False
        self._unfinished: set[int] = set()
        self._usage: Usage | None = None
        self._tier: str | None = None
        self._fingerprint: str | None = None

    def read(self, event: bytes) -> list[StreamPiece]:
        """The pieces of one chunk, or of `[DONE]`."""
        if event == _DONE or event.strip() == _DONE:
            return [self._end() if self._begun else _NO_COMPLETION]
        try:
            chunk = decode_completion(event)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return [_NO_COMPLETION]
        failure = self._error_in(chunk)
        return self._take(chunk) if failure is None else [failure]

    def all_said(self) -> StreamEnded | None:
        """The end, once every choice that began has its finish reason."""
        return self._end() if self._begun and not self._unfinished else None

    def _end(self) -> StreamEnded:
        return StreamEnded(
            usage=self._usage, service_tier=self._tier, system_fingerprint=self._fingerprint
        )

    def _error_in(self, chunk: WireCompletion) -> ProviderFailure | None:
        if is_given(chunk.error):
            return self._failures.from_error(chunk.error)
        for choice in chunk.choices or ():
            if is_given(choice.error):
                return self._failures.from_error(choice.error)
            if choice.finish_reason is not None and normalised(choice.finish_reason) == "error":
                return _GAVE_UP
        return None

    def _take(self, chunk: WireCompletion) -> list[StreamPiece]:
        pieces: list[StreamPiece] = []
        if not self._named and (name := upstream_id(chunk.id)) is not None:
            self._named = True
            pieces.append(AnswerNamed(name))
        if chunk.service_tier is not None:
            self._tier = chunk.service_tier
        if chunk.system_fingerprint is not None:
            self._fingerprint = chunk.system_fingerprint
        choices: list[Choice] = []
        for wire in chunk.choices or ():
            choice = read_choice(wire, whole=False)
            self._note(choice)
            if choice.finish_reason is not None or choice.message != _NOTHING:
                choices.append(choice)
        if choices:
            pieces.append(ReplyDelta(choices=choices))
        usage = read_usage(chunk.usage, self._quirks)
        if usage is not None:
            self._usage = usage
            pieces.append(UsageSeen(usage))
        return pieces

    def _note(self, choice: Choice) -> None:
        self._begun = True
        if choice.finish_reason is not None:
            self._unfinished.discard(choice.index)
        elif choice.message != _NOTHING:
            self._unfinished.add(choice.index)
