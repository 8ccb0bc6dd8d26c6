"""End a run: first the fact, durable, then the last frame (design.md section 2, step 6)."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from services.dispatcher.domain import client_error
from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.client_error import ClientError
from services.dispatcher.domain.cost import Promise, reply_usage
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import Embeddings, WholeReply
from services.dispatcher.domain.run import Cancelled, Completed, Ending, Failed, Run
from services.dispatcher.ports import Facts, ReplyStream
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.generations import GenerationAbandoned, Spend
from shared.events.replies import ReplyCompleted, ReplyFailed, ReplyVectors
from shared.events.routing import AttemptTarget, FallbackDecided
from shared.events.usage import Usage
from shared.ids import RunId
from shared.tasks import TaskScope

VECTORS_BYTES_WANTED: Final = 256 * 1024
"""Embeddings beyond this are sent ahead of the last frame, in parts of this size."""
_FALLBACK_SECONDS_MAX: Final = 5.0
_NO_USAGE: Final = Usage(prompt_tokens=0, completion_tokens=0)


class FinishGeneration:
    """Makes facts durable and lets the last frame go."""

    def __init__(self, *, facts: Facts, background: TaskScope, clock: Clock) -> None:
        """`background` is where facts that nothing waits for yet are being sent."""
        self._facts = facts
        self._background = background
        self._clock = clock
        self._telling: dict[RunId, list[asyncio.Task[Any]]] = {}

    def tell_fallback(
        self, run: Run, failed: Attempt, following: Attempt, failure: ProviderFailure
    ) -> None:
        """Emit `FallbackDecided` beside the next attempt; the run's end waits for it."""
        run.fallback_reasons.append(failure.failure.value)
        fact = FallbackDecided(
            generation_id=run.asked.generation_id,
            run_id=run.run_id,
            account_id=run.asked.account_id,
            model=failed.model,
            from_=_target(failed),
            to=_target(following),
            reason=failure.failure.value,
            provider_status=failure.status,
        )
        telling = self._start(self._facts.fell_back(fact), "fallback")
        self._telling.setdefault(run.run_id, []).append(telling)

    async def finish(self, run: Run, ending: Ending, replies: ReplyStream) -> Ending:
        """Tell billing, then the client. Returns how the run ended after all."""
        telling = self._telling.pop(run.run_id, None)
        if telling:
            await asyncio.wait(telling, timeout=_FALLBACK_SECONDS_MAX)
        match ending:
            case Completed():
                return await self._complete(run, ending, replies)
            case Failed():
                await self._tell_finished(run, ending)
                await _close(replies, _failed(run, ending.error))
                return ending
            case Cancelled():
                await self._tell_finished(run, ending)
                return ending
            case _:
                return ending

    async def _complete(self, run: Run, ending: Completed, replies: ReplyStream) -> Ending:
        if not await self._tell_finished(run, ending):
            # it may still arrive: what follows it on its way takes the charge back
            self._start(
                self._facts.abandoned(
                    GenerationAbandoned(
                        generation_id=run.asked.generation_id,
                        account_id=run.asked.account_id,
                        reason="the fact was not acknowledged in time",
                    )
                ),
                "abandon",
            )
            failed = Failed(client_error.unavailable("kafka"))
            await _close(replies, _failed(run, failed.error, abandon=True))
            return failed
        *before, last = _vectors(ending)
        await _close(
            replies,
            self._completed(run, ending, last),
            before=[ReplyVectors(vectors=part) for part in before],
        )
        return ending

    async def _tell_finished(self, run: Run, ending: Completed | Failed | Cancelled) -> bool:
        try:
            await self._facts.finished(run.finished(ending, self._clock.now()))
        except Unavailable:
            return False
        return True

    def _completed(self, run: Run, ending: Completed, vectors: list[str]) -> ReplyCompleted:
        attempt = run.answering
        if attempt is None:
            raise ValueError("a completed run has an attempt that answered")
        return ReplyCompleted(
            model=attempt.model,
            provider_name=attempt.endpoint.provider_name,
            created=int(run.asked.received_at.timestamp()),
            choices=ending.whole.choices if isinstance(ending.whole, WholeReply) else [],
            vectors=vectors,
            usage=reply_usage(
                run.used(is_complete=True) or _NO_USAGE,
                attempt.endpoint.prices,
                run.promise or Promise(spend=Spend()),
                is_byok=attempt.is_byok,
                operation=run.asked.operation,
            ),
            attempts=run.summaries(),
            service_tier=ending.service_tier,
            system_fingerprint=ending.system_fingerprint,
        )

    def _start(self, telling: Coroutine[Any, Any, None], name: str) -> asyncio.Task[Any]:
        return self._background.start(_quietly(telling), name=name)


async def _quietly(telling: Coroutine[Any, Any, None]) -> None:
    try:
        await telling
    except Unavailable:
        return


def _vectors(ending: Completed) -> list[list[str]]:
    """The vectors of embeddings, none of other answers, in as many parts as they need."""
    if isinstance(ending.whole, Embeddings):
        return ending.whole.in_parts(bytes_max=VECTORS_BYTES_WANTED)
    return [[]]


async def _close(
    replies: ReplyStream,
    part: ReplyCompleted | ReplyFailed,
    *,
    before: Sequence[ReplyVectors] = (),
) -> None:
    try:
        for each in before:
            replies.put(each)
            await replies.room()
        await replies.close(part)
    except Unavailable:
        return  # the ingress hears our silence and ends the answer itself


def _failed(run: Run, error: ClientError, *, abandon: bool = False) -> ReplyFailed:
    return ReplyFailed(
        status=error.status,
        message=error.message,
        error_type=error.error_type,
        provider_name=error.provider_name,
        provider_code=error.provider_code,
        raw=error.raw,
        retry_after_seconds=error.retry_after_seconds,
        attempts=run.summaries(),
        abandon=abandon,
        payment=error.payment,
        rate_limit=error.rate_limit,
    )


def _target(attempt: Attempt) -> AttemptTarget:
    return AttemptTarget(
        provider=attempt.endpoint.provider,
        endpoint=attempt.endpoint.id,
        credential_id=attempt.credential.credential_id if attempt.is_byok else None,
        tier=attempt.tier,
    )
