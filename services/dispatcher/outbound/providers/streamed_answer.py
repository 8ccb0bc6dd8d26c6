"""A streamed answer up to its end, whoever gives it: events in, pieces out. Does no I/O.

What an event says is a Meaning's to read, one for each wire; here is what all have in common: an
answer ends once, what fails after the first token is a stream that was cut, and a body that just ends
has failed unless all was said before.
"""

from collections.abc import Iterable
from typing import Final, Generic, Protocol, TypeVar

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, StreamPiece
from services.dispatcher.outbound.providers.failures import after_first_token
from services.dispatcher.outbound.providers.server_sent_events import EventReader, StreamTooLarge
from shared.events.replies import Message, ReplyDelta

_Event = TypeVar("_Event")
_Event_contra = TypeVar("_Event_contra", contravariant=True)


class Meaning(Protocol[_Event_contra]):
    """What one answer's events say."""

    def read(self, event: _Event_contra) -> list[StreamPiece]:
        """The pieces of one event; nothing is read after a StreamEnded or a ProviderFailure."""
        ...

    def all_said(self) -> StreamEnded | None:
        """The end, when all was said before the body ended; None when something is missing."""
        ...


def failed(code: str) -> ProviderFailure:
    """What went wrong inside an answer of status 200."""
    return ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=200, code=code)


ENDED_EARLY: Final = failed("ended_early")
_TOO_LARGE: Final = failed("answer_too_large")


def holds_token(message: Message) -> bool:
    """Whether a delta holds something of the answer itself: from then on nothing falls back."""
    return bool(message.content or message.reasoning or message.tool_calls or message.refusal)


class StreamedAnswer(Generic[_Event]):
    """One answer. After a StreamEnded or a ProviderFailure `ended` is True, and it is over."""

    __slots__ = ("_meaning", "_token_seen", "ended")

    def __init__(self, meaning: Meaning[_Event]) -> None:
        """`meaning` reads the events of this answer alone."""
        self._meaning = meaning
        self._token_seen = False
        self.ended = False

    def take(self, events: Iterable[_Event]) -> list[StreamPiece]:
        """The pieces of these events, up to the one that ends the answer."""
        pieces: list[StreamPiece] = []
        for event in events:
            for piece in self._meaning.read(event):
                if isinstance(piece, ProviderFailure):
                    return [*pieces, self.fail(piece)]
                pieces.append(piece)
                if isinstance(piece, ReplyDelta):
                    self._token_seen = self._token_seen or _holds_token(piece)
                elif isinstance(piece, StreamEnded):
                    self.ended = True
                    return pieces
        return pieces

    def break_off(self, failure: ProviderFailure) -> StreamPiece:
        """The last piece when no more events come; all well if all was said before."""
        ended = self._meaning.all_said()
        if ended is None:
            return self.fail(failure)
        self.ended = True
        return ended

    def fail(self, failure: ProviderFailure) -> ProviderFailure:
        """The last piece when something is wrong, whatever was said before."""
        self.ended = True
        return after_first_token(failure) if self._token_seen else failure


class SentEvents:
    """An answer that comes as server-sent events: bytes in, pieces out."""

    __slots__ = ("_answer", "_events")

    def __init__(self, meaning: Meaning[bytes]) -> None:
        """`meaning` is given the data of each event."""
        self._events = EventReader()
        self._answer = StreamedAnswer(meaning)

    @property
    def ended(self) -> bool:
        """Whether the last piece is out."""
        return self._answer.ended

    def feed(self, piece: bytes) -> list[StreamPiece]:
        """The pieces that these bytes complete."""
        try:
            events = self._events.feed(piece)
        except StreamTooLarge:
            return [self._answer.fail(_TOO_LARGE)]
        return self._answer.take(events)

    def end(self) -> list[StreamPiece]:
        """The pieces that the end of the body completes; the last one ends the stream."""
        pieces = self._answer.take(self._events.end())
        return pieces if self.ended else [*pieces, self.break_off(ENDED_EARLY)]

    def break_off(self, failure: ProviderFailure) -> StreamPiece:
        """The last piece when the connection ends or breaks; all well if all was said before."""
        return self._answer.break_off(failure)


def _holds_token(delta: ReplyDelta) -> bool:
    return any(holds_token(choice.message) for choice in delta.choices)
