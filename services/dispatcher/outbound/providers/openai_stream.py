"""Reading a streamed chat completion: bytes in, pieces out. Does no I/O.

A stream has come to its proper end when it said `[DONE]`, or when every choice that it began gave
its finish reason. One that just ends has failed.
"""

from typing import Final

import msgspec

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, StreamPiece, UsageSeen
from services.dispatcher.outbound.providers.failures import FailureReader, after_first_token
from services.dispatcher.outbound.providers.openai_response import (
    WireCompletion,
    decode_completion,
    holds_token,
    is_given,
    normalised,
    read_choice,
    read_usage,
)
from services.dispatcher.outbound.providers.quirks import Quirks
from services.dispatcher.outbound.providers.server_sent_events import EventReader, StreamTooLarge
from shared.events.replies import Choice, Message, ReplyDelta
from shared.events.usage import Usage

_DONE: Final = b"[DONE]"
_NOTHING: Final = Message()


def _failed(code: str) -> ProviderFailure:
    return ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=200, code=code)


_TOO_LARGE: Final = _failed("answer_too_large")
_NO_COMPLETION: Final = _failed("not_a_completion")
_ENDED_EARLY: Final = _failed("ended_early")
_GAVE_UP: Final = _failed("finish_reason_error")


class StreamReader:
    """Reads one stream. After a StreamEnded or a ProviderFailure `ended` is True, and it is over."""

    __slots__ = (
        "_begun",
        "_events",
        "_failures",
        "_fingerprint",
        "_quirks",
        "_tier",
        "_token_seen",
        "_unfinished",
        "_usage",
        "ended",
    )

    def __init__(self, quirks: Quirks, failures: FailureReader) -> None:
        """`failures` reads the errors that may stand in the stream."""
        self._events = EventReader()
        self._quirks = quirks
        self._failures = failures
        self._begun = False
        self._unfinished: set[int] = set()
        self._token_seen = False
        self._usage: Usage | None = None
        self._tier: str | None = None
        self._fingerprint: str | None = None
        self.ended = False

    def feed(self, piece: bytes) -> list[StreamPiece]:
        """The pieces that these bytes complete."""
        try:
            events = self._events.feed(piece)
        except StreamTooLarge:
            return [self.fail(_TOO_LARGE)]
        return self._read(events)

    def end(self) -> list[StreamPiece]:
        """The pieces that the end of the body completes; the last one ends the stream."""
        pieces = self._read(self._events.end())
        if not self.ended:
            pieces.append(self.break_off(_ENDED_EARLY))
        return pieces

    def break_off(self, failure: ProviderFailure) -> StreamPiece:
        """The last piece when the connection ends or breaks; all well if all was said before."""
        if self._begun and not self._unfinished:
            return self._end_well()
        return self.fail(failure)

    def fail(self, failure: ProviderFailure) -> ProviderFailure:
        """The last piece when something is wrong, whatever was said before."""
        self.ended = True
        return after_first_token(failure) if self._token_seen else failure

    def _read(self, events: list[bytes]) -> list[StreamPiece]:
        pieces: list[StreamPiece] = []
        for event in events:
            if event == _DONE or event.strip() == _DONE:
                pieces.append(self._end_well() if self._begun else self.fail(_NO_COMPLETION))
                break
            try:
                chunk = decode_completion(event)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pieces.append(self.fail(_NO_COMPLETION))
                break
            failure = self._error_in(chunk)
            if failure is not None:
                pieces.append(self.fail(failure))
                break
            self._read_chunk(chunk, pieces)
        return pieces

    def _end_well(self) -> StreamEnded:
        self.ended = True
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

    def _read_chunk(self, chunk: WireCompletion, pieces: list[StreamPiece]) -> None:
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

    def _note(self, choice: Choice) -> None:
        self._begun = True
        if choice.finish_reason is not None:
            self._unfinished.discard(choice.index)
        elif choice.message != _NOTHING:
            self._unfinished.add(choice.index)
            if not self._token_seen:
                self._token_seen = holds_token(choice.message)
