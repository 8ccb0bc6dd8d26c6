"""Call a provider for one attempt, and let a stream's pieces go once its first token is there."""

from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import Final, assert_never

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.embedding import EmbeddingRequest
from services.dispatcher.domain.estimate import delivered_bytes
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.operations import AnyRequest
from services.dispatcher.domain.reply import (
    AnswerNamed,
    Embeddings,
    StreamEnded,
    StreamPiece,
    UsageSeen,
    WholeReply,
)
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.domain.run import Completed, Run
from services.dispatcher.ports import Provider, ProviderSecret, ReplyStream
from shared.clock import Clock
from shared.events.replies import Choice, ReplyDelta, ReplyStarted
from shared.time_limit import TimeLimit

HELD_BACK_MAX: Final = 256
"""Pieces without a token that are held back; more of them count as a beginning."""

Pieces = AsyncGenerator[StreamPiece, None]


class CallProvider:
    """Carries out attempts."""

    def __init__(
        self,
        *,
        providers: Mapping[str, Provider],
        first_token_seconds_max: float,
        whole_answer_seconds_max: float,
        clock: Clock,
    ) -> None:
        """`providers` by slug; the limits are of a stream's beginning and of a plain answer."""
        self._providers = providers
        self._first_token_seconds_max = first_token_seconds_max
        self._whole_answer_seconds_max = whole_answer_seconds_max
        self._clock = clock

    async def call(
        self,
        run: Run,
        attempt: Attempt,
        secret: ProviderSecret,
        request: AnyRequest,
        replies: ReplyStream,
    ) -> Completed | ProviderFailure:
        """Make the call. After `run.first_token_out` a failure is the end of the answer.

        Unavailable("kafka") when the reply cannot be sent.
        """
        provider = self._providers[attempt.endpoint.provider]
        match request:
            case EmbeddingRequest():
                embedding = provider.embed(attempt, secret, request, run.note_usage)
                return await self._whole(run, attempt, embedding)
            case ChatRequest(stream=True):
                async with aclosing(provider.stream(attempt, secret, request)) as pieces:
                    return await self._stream(run, attempt, pieces, replies)
            case ChatRequest():
                return await self._whole(run, attempt, provider.complete(attempt, secret, request))
            case _:
                assert_never(request)

    async def _whole(
        self,
        run: Run,
        attempt: Attempt,
        answering: Awaitable[WholeReply | Embeddings | ProviderFailure],
    ) -> Completed | ProviderFailure:
        try:
            with TimeLimit(self._whole_answer_seconds_max):
                answer = await answering
        except TimeoutError:
            return ProviderFailure(failure=FailureClass.TIMED_OUT)
        if isinstance(answer, ProviderFailure):
            return answer
        self._commit(run, attempt)
        run.usage, run.upstream_id = answer.usage, answer.upstream_id
        if isinstance(answer, Embeddings):
            return Completed(whole=answer)
        if answer.usage is None:
            run.delivered_bytes = delivered_bytes(answer.choices)
        _note_endings(run, answer.choices)
        return Completed(
            whole=answer,
            service_tier=answer.service_tier,
            system_fingerprint=answer.system_fingerprint,
        )

    async def _stream(
        self, run: Run, attempt: Attempt, pieces: Pieces, replies: ReplyStream
    ) -> Completed | ProviderFailure:
        held: list[ReplyDelta] = []
        try:
            with TimeLimit(self._first_token_seconds_max):
                ended = await _until_first_token(run, pieces, held)
        except TimeoutError:
            return ProviderFailure(failure=FailureClass.TIMED_OUT)
        if isinstance(ended, ProviderFailure):
            return ended
        self._commit(run, attempt)
        replies.put(
            ReplyStarted(
                model=attempt.model,
                provider_name=attempt.endpoint.provider_name,
                created=int(run.asked.received_at.timestamp()),
            )
        )
        for delta in held:
            replies.put(delta)
        if ended is None:
            ended = await _pass_on(run, pieces, replies)
        if isinstance(ended, ProviderFailure):
            return ended
        run.usage = ended.usage or run.usage
        return Completed(
            service_tier=ended.service_tier, system_fingerprint=ended.system_fingerprint
        )

    def _commit(self, run: Run, attempt: Attempt) -> None:
        run.answering = attempt
        run.first_token_out = True
        run.first_token_seconds = (self._clock.now() - run.began_at).total_seconds()


async def _until_first_token(
    run: Run, pieces: Pieces, held: list[ReplyDelta]
) -> StreamEnded | ProviderFailure | None:
    """Gather pieces up to the first token; an end when one came before it, else None."""
    async for piece in pieces:
        match piece:
            case ReplyDelta():
                _note_choices(run, piece.choices)
                held.append(piece)
                if run.delivered_bytes > 0 or len(held) >= HELD_BACK_MAX:
                    return None
            case UsageSeen():
                run.usage = piece.usage
            case AnswerNamed():
                run.upstream_id = piece.upstream_id
            case StreamEnded() | ProviderFailure():
                return piece
    return ProviderFailure(failure=FailureClass.PROVIDER_ERROR)


async def _pass_on(run: Run, pieces: Pieces, replies: ReplyStream) -> StreamEnded | ProviderFailure:
    """Pass the rest on as it comes; what goes wrong now cannot be tried elsewhere."""
    async for piece in pieces:
        match piece:
            case ReplyDelta():
                _note_choices(run, piece.choices)
                replies.put(piece)
                await replies.room()
            case UsageSeen():
                run.usage = piece.usage
            case AnswerNamed():
                run.upstream_id = piece.upstream_id
            case StreamEnded():
                return piece
            case ProviderFailure():
                return _cut(piece)
    return ProviderFailure(failure=FailureClass.STREAM_CUT)


def _cut(failure: ProviderFailure) -> ProviderFailure:
    return ProviderFailure(
        failure=FailureClass.STREAM_CUT,
        status=failure.status,
        code=failure.code,
        raw=failure.raw,
        retry_after_seconds=failure.retry_after_seconds,
    )


def _note_choices(run: Run, choices: list[Choice]) -> None:
    run.delivered_bytes += delivered_bytes(choices)
    _note_endings(run, choices)


def _note_endings(run: Run, choices: list[Choice]) -> None:
    for choice in choices:
        if choice.finish_reason is not None:
            run.finish_reason = choice.finish_reason
            run.native_finish_reason = choice.native_finish_reason
