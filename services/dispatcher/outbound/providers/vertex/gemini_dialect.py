"""What the answers of Gemini's generateContent mean, whole and streamed. Does no I/O.

A stream is chunks of the same shape as a whole answer, over SSE with CRLF and without `[DONE]`: it has
come to its proper end when every candidate that it began gave its finish reason.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import (
    AnswerNamed,
    StreamEnded,
    StreamPiece,
    UsageSeen,
    WholeReply,
    upstream_id,
)
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.streamed_answer import SentEvents, failed
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


_NO_ANSWER: Final = failed("not_a_completion")


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
        return WholeReply(
            choices=choices,
            usage=read_usage(answer.usage_metadata),
            upstream_id=upstream_id(answer.response_id),
        )

    def pieces(self, failures: FailureReader) -> SentEvents:
        """The reader of a stream of chunks."""
        return SentEvents(_Chunks(failures, excludes_reasoning=self.excludes_reasoning))


class _Chunks:
    """What the chunks of one answer say."""

    __slots__ = ("_candidates", "_excludes_reasoning", "_failures", "_named", "_usage")

    def __init__(self, failures: FailureReader, *, excludes_reasoning: bool) -> None:
        self._failures = failures
        self._excludes_reasoning = excludes_reasoning
        self._candidates: dict[int, _Candidate] = {}
        self._named = False
        self._usage: Usage | None = None

    def read(self, event: bytes) -> list[StreamPiece]:
        """The pieces of one chunk."""
        try:
            chunk = decode_answer(event)
        except _UNREADABLE:
            return [_NO_ANSWER]
        failure = failure_in(chunk, self._failures)
        return self._take(chunk) if failure is None else [failure]

    def all_said(self) -> StreamEnded | None:
        """The end, once every candidate that began has finished."""
        if self._candidates and all(each.finished for each in self._candidates.values()):
            return StreamEnded(usage=self._usage)
        return None

    def _take(self, chunk: WireAnswer) -> list[StreamPiece]:
        pieces: list[StreamPiece] = []
        if not self._named and (name := upstream_id(chunk.response_id)) is not None:
            self._named = True
            pieces.append(AnswerNamed(name))
        choices: list[Choice] = []
        for wire in chunk.candidates or ():
            candidate = self._candidates.setdefault(wire.index or 0, _Candidate())
            choice = candidate.choice(
                wire, chunk.response_id, whole=False, excludes_reasoning=self._excludes_reasoning
            )
            if choice.finish_reason is not None or choice.message != _NOTHING:
                choices.append(choice)
        if choices:
            pieces.append(ReplyDelta(choices=choices))
        usage = read_usage(chunk.usage_metadata)
        if usage is not None:
            self._usage = usage
            pieces.append(UsageSeen(usage))
        return pieces
