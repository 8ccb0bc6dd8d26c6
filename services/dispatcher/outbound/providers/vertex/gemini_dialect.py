"""What the answers of Gemini's generateContent mean, whole and streamed. Does no I/O.

A stream is chunks of the same shape as a whole answer, over SSE with CRLF and without `[DONE]`: it has
come to its proper end when every candidate that it began gave its finish reason.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, StreamPiece, UsageSeen, WholeReply
from services.dispatcher.outbound.providers.failures import FailureReader, after_first_token
from services.dispatcher.outbound.providers.server_sent_events import EventReader, StreamTooLarge
from services.dispatcher.outbound.providers.vertex.gemini_logprobs import read_logprobs
from services.dispatcher.outbound.providers.vertex.gemini_response import (
    Thoughts,
    WireAnswer,
    WireCandidate,
    decode_answer,
    failure_in,
    normalised,
    read_tool_call,
    read_usage,
)
from shared.events.replies import Choice, Message, ReasoningDetail, ReplyDelta, ToolCall
from shared.events.usage import Usage

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_NOTHING: Final = Message()


def _failed(code: str) -> ProviderFailure:
    return ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=200, code=code)


_TOO_LARGE: Final = _failed("answer_too_large")
_NO_ANSWER: Final = _failed("not_a_completion")
_ENDED_EARLY: Final = _failed("ended_early")


class _Candidate:
    """What one choice has said so far."""

    __slots__ = ("calls", "finished", "thoughts")

    def __init__(self) -> None:
        self.thoughts = Thoughts()
        self.calls = 0
        self.finished = False

    def choice(
        self,
        wire: WireCandidate,
        response_id: str | None,
        *,
        whole: bool,
        excludes_reasoning: bool,
    ) -> Choice:
        """This piece of it, or all of it."""
        texts: list[str] = []
        reasoning: list[str] = []
        details: list[ReasoningDetail] = []
        calls: list[ToolCall] = []
        for part in wire.parts:
            call = None
            if part.function_call is not None:
                call = read_tool_call(
                    part.function_call, self.calls, response_id=response_id, whole=whole
                )
                self.calls += 1
                calls.append(call)
            elif part.text:
                (reasoning if part.thought else texts).append(part.text)
            details.extend(self.thoughts.details(part, call))
        if excludes_reasoning:
            reasoning, details = [], []
        native = wire.finish_reason or None
        reason = None if native is None else normalised(native)
        self.finished = self.finished or native is not None
        needs_text = whole and not calls
        return Choice(
            index=wire.index or 0,
            message=Message(
                role="assistant" if whole else None,
                content="".join(texts) if texts or needs_text else None,
                reasoning="".join(reasoning) or None,
                reasoning_details=details or None,
                tool_calls=calls or None,
            ),
            finish_reason="tool_calls" if reason == "stop" and self.calls else reason,
            native_finish_reason=native,
            logprobs=read_logprobs(wire.logprobs_result),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiDialect:
    """`excludes_reasoning` keeps what the model thought out of the answer."""

    excludes_reasoning: bool

    def whole(self, body: bytes, failures: FailureReader) -> WholeReply | ProviderFailure:
        """An answer whose candidates have all finished, or the error that stands in its place."""
        try:
            answer = decode_answer(body)
        except _UNREADABLE:
            return _NO_ANSWER
        failure = failure_in(answer, failures)
        if failure is not None:
            return failure
        choices = [
            _Candidate().choice(
                wire, answer.response_id, whole=True, excludes_reasoning=self.excludes_reasoning
            )
            for wire in answer.candidates or ()
        ]
        if not choices or any(choice.finish_reason is None for choice in choices):
            return _NO_ANSWER
        return WholeReply(choices=choices, usage=read_usage(answer.usage_metadata))

    def pieces(self, failures: FailureReader) -> "GeminiReader":
        """The reader of a stream of chunks."""
        return GeminiReader(failures, excludes_reasoning=self.excludes_reasoning)


class GeminiReader:
    """Reads one stream. After a StreamEnded or a ProviderFailure `ended` is True, and it is over."""

    __slots__ = (
        "_candidates",
        "_events",
        "_excludes_reasoning",
        "_failures",
        "_token_seen",
        "_usage",
        "ended",
    )

    def __init__(self, failures: FailureReader, *, excludes_reasoning: bool) -> None:
        """`failures` reads the errors that may stand in the stream."""
        self._events = EventReader()
        self._failures = failures
        self._excludes_reasoning = excludes_reasoning
        self._candidates: dict[int, _Candidate] = {}
        self._token_seen = False
        self._usage: Usage | None = None
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
        if self._candidates and all(each.finished for each in self._candidates.values()):
            self.ended = True
            return StreamEnded(usage=self._usage)
        return self._fail(failure)

    def _fail(self, failure: ProviderFailure) -> ProviderFailure:
        self.ended = True
        return after_first_token(failure) if self._token_seen else failure

    def _read(self, events: list[bytes]) -> list[StreamPiece]:
        pieces: list[StreamPiece] = []
        for event in events:
            try:
                chunk = decode_answer(event)
            except _UNREADABLE:
                pieces.append(self._fail(_NO_ANSWER))
                break
            failure = failure_in(chunk, self._failures)
            if failure is not None:
                pieces.append(self._fail(failure))
                break
            pieces.extend(self._take(chunk))
        return pieces

    def _take(self, chunk: WireAnswer) -> list[StreamPiece]:
        pieces: list[StreamPiece] = []
        choices: list[Choice] = []
        for wire in chunk.candidates or ():
            candidate = self._candidates.setdefault(wire.index or 0, _Candidate())
            choice = candidate.choice(
                wire, chunk.response_id, whole=False, excludes_reasoning=self._excludes_reasoning
            )
            if choice.finish_reason is not None or choice.message != _NOTHING:
                choices.append(choice)
            message = choice.message
            if message.content or message.reasoning or message.tool_calls:
                self._token_seen = True
        if choices:
            pieces.append(ReplyDelta(choices=choices))
        usage = read_usage(chunk.usage_metadata)
        if usage is not None:
            self._usage = usage
            pieces.append(UsageSeen(usage))
        return pieces
