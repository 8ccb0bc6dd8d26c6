"""Carry out one generation: open it, plan, try the attempts in order, finish.

A run stands in one time limit, which is the generation's deadline, and which anybody may bring
forward to now in order to cancel it. Whatever ends the run, its fact is made durable before the last
frame goes out.
"""

from datetime import timedelta
from typing import Final

from services.dispatcher.domain import client_error
from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import FailureClass, Next, ProviderFailure, next_after
from services.dispatcher.domain.health import HealthTable
from services.dispatcher.domain.observations import Observations
from services.dispatcher.domain.operations import AnyRequest, read_operation
from services.dispatcher.domain.plan import Plan
from services.dispatcher.domain.request import UnreadableRequest
from services.dispatcher.domain.run import Cancelled, Completed, Dropped, Ending, Failed, Run
from services.dispatcher.ports import (
    Claim,
    HealthBroadcast,
    Observer,
    Replies,
    ReplyStream,
    Secrets,
    WireKeys,
)
from services.dispatcher.use_cases.authorize_spend import AlreadyEnded, AuthorizeAttempt
from services.dispatcher.use_cases.call_provider import CallProvider
from services.dispatcher.use_cases.finish_generation import FinishGeneration
from services.dispatcher.use_cases.plan_request import PlanRequest
from services.dispatcher.use_cases.running import Handle, Running
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.completions import CompletionRequested
from shared.events.envelope import type_of
from shared.events.generations import AttemptReceipt
from shared.ids import RunId
from shared.sealing import Seal, SealBroken
from shared.time_limit import TimeLimit

FINISH_SECONDS: Final = 2.0
"""Of the time until the deadline, what is kept for the fact and the last frame."""
STOPPING: Final = "stopping"
"""Why a run is ended by the process itself: our fault, so the client hears of it."""
_REQUEST_TYPE: Final = type_of(CompletionRequested)


class RunGeneration:
    """The dispatcher's one use case."""

    def __init__(
        self,
        *,
        wire_keys: WireKeys,
        planner: PlanRequest,
        authorizer: AuthorizeAttempt,
        secrets: Secrets,
        caller: CallProvider,
        health: HealthTable,
        observations: Observations,
        broadcast: HealthBroadcast,
        replies: Replies,
        finisher: FinishGeneration,
        running: Running,
        observer: Observer,
        clock: Clock,
    ) -> None:
        """Everything that a run needs."""
        self._wire_keys = wire_keys
        self._planner = planner
        self._authorizer = authorizer
        self._secrets = secrets
        self._caller = caller
        self._health = health
        self._observations = observations
        self._broadcast = broadcast
        self._replies = replies
        self._finisher = finisher
        self._running = running
        self._observer = observer
        self._clock = clock

    async def run(
        self, asked: CompletionRequested, content: bytes, claim: Claim, run_id: RunId
    ) -> None:
        """Run to the end, whatever the end is; never raises but when cancelled itself."""
        run = Run(asked=asked, run_id=run_id, began_at=self._clock.now())
        handle = Handle(asked, run_id)
        began_seconds = self._clock.monotonic()
        self._running.begin(handle)
        try:
            ending = await self._begin(run, handle, content, claim)
            self._observer.ended(run, ending, self._clock.monotonic() - began_seconds)
        finally:
            self._running.over(handle)
            claim.done()

    async def _begin(self, run: Run, handle: Handle, content: bytes, claim: Claim) -> Ending:
        """Open the way back; without its key nothing can even be told."""
        if self._running.is_unwanted(run.asked.generation_id):
            return Dropped("cancelled before it began")
        try:
            data_key = await self._wire_keys.unwrap(run.asked.wire_key)
        except Unavailable as error:
            return Dropped(str(error))
        if data_key is None:
            return Dropped("its data key cannot be unwrapped")
        seal = Seal(data_key, run.asked.generation_id)
        replies = self._replies.open(run.asked, run.run_id, seal)
        ending = await self._within_limits(run, handle, content, claim, seal, replies)
        if isinstance(ending, Dropped):
            return ending
        return await self._finisher.finish(run, ending, replies)

    async def _within_limits(
        self,
        run: Run,
        handle: Handle,
        content: bytes,
        claim: Claim,
        seal: Seal,
        replies: ReplyStream,
    ) -> Ending:
        left_seconds = (run.asked.deadline - self._clock.now()).total_seconds()
        bounds = TimeLimit(max(left_seconds - FINISH_SECONDS, left_seconds / 2, 0.0))
        ending: Ending
        try:
            with bounds:
                handle.bounds = bounds
                if handle.why is not None:
                    return Dropped(handle.why)
                ending = await self._answer(run, content, claim, seal, replies)
        except TimeoutError as error:
            ending = _interrupted(handle) if bounds.has_passed else self._bug(run, error)
        except Unavailable as error:
            ending = Failed(client_error.unavailable(error.dependency))
        except Exception as error:  # noqa: BLE001 - one request's bug must not end the others
            ending = self._bug(run, error)
        finally:
            handle.is_finishing = True
        # what was not ours yet has no end of ours: whoever wins it tells
        return ending if run.is_claimed else Dropped(handle.why or "not claimed")

    async def _answer(
        self, run: Run, content: bytes, claim: Claim, seal: Seal, replies: ReplyStream
    ) -> Ending:
        """Plan while the claim is being won; call a provider only once it is."""
        request = _open(run, content, seal)
        planned: Plan | None = None
        now = self._clock.now()
        problem = self._planner.problem()
        if not isinstance(request, UnreadableRequest) and problem is None:
            run.request = request
            planned = self._planner.plan(run.asked, request, now)
        if not await claim.won():
            return Dropped("claimed by another dispatcher")
        run.is_claimed = True
        if self._clock.now() > run.asked.start_by:
            return Dropped("too late to begin")
        if isinstance(request, UnreadableRequest):
            return Failed(client_error.unreadable(request.message))
        if planned is None:
            return Failed(client_error.unavailable("routing"))
        if not planned.attempts:
            return Failed(client_error.of_empty_plan(planned, now))
        return await self._try_in_order(run, request, planned, replies)

    async def _try_in_order(
        self, run: Run, request: AnyRequest, planned: Plan, replies: ReplyStream
    ) -> Ending:
        attempt = planned.attempts[0]
        while True:
            answer = await self._try(run, attempt, request, replies)
            if not isinstance(answer, ProviderFailure):
                return answer
            where = Next.STOP if run.first_token_out else next_after(answer.failure)
            following = self._planner.following(planned, attempt, where, self._clock.now())
            if following is None:
                return Failed(client_error.of_failure(answer, attempt))
            self._finisher.tell_fallback(run, attempt, following, answer)
            attempt = following

    async def _try(
        self, run: Run, attempt: Attempt, request: AnyRequest, replies: ReplyStream
    ) -> Completed | Cancelled | ProviderFailure:
        """One attempt: may it cost that, open the credential, call."""
        began_at = self._clock.now()
        run.begin_attempt()
        answer: Completed | ProviderFailure
        promise = await self._authorizer.authorize(run, attempt, request)
        if isinstance(promise, AlreadyEnded):
            return Cancelled("billing knows it as ended")
        if isinstance(promise, ProviderFailure):
            answer = promise
        else:
            run.promise = promise
            secret = await self._secrets.open(attempt.credential)
            if secret is None:
                answer = ProviderFailure(failure=FailureClass.MISCONFIGURED)
            else:
                began_at = self._clock.now()
                self._health.begin(attempt, began_at)
                try:
                    answer = await self._caller.call(run, attempt, secret, request, replies)
                except BaseException:
                    now = self._clock.now()
                    run.attempts.append(_receipt(run, attempt, "interrupted", None, now - began_at))
                    self._observations.interrupted(attempt, began_at=began_at)
                    raise
        now = self._clock.now()
        if isinstance(answer, ProviderFailure):
            failure, status = answer.failure.value, answer.status
            change = self._health.failed(attempt, answer, began_at=began_at, now=now)
            if change is not None:
                self._broadcast.tell(change)
            self._observations.ended(attempt, answer, began_at=began_at, now=now)
        else:
            failure, status = None, 200
            for recovered in self._health.succeeded(attempt, began_at=began_at, now=now):
                self._broadcast.tell(recovered)
            self._observations.ended(attempt, None, began_at=began_at, now=now)
        run.attempts.append(_receipt(run, attempt, failure, status, now - began_at))
        return answer

    def _bug(self, run: Run, error: Exception) -> Failed:
        self._observer.broke(run, error)
        return Failed(client_error.our_fault())


def _open(run: Run, content: bytes, seal: Seal) -> AnyRequest | UnreadableRequest:
    try:
        opened = seal.open(_REQUEST_TYPE, "", 0, content)
    except SealBroken:
        return UnreadableRequest("the request was damaged on its way; send it again")
    return read_operation(run.asked, opened)


def _interrupted(handle: Handle) -> Cancelled | Failed:
    match handle.why:
        case None:
            return Failed(client_error.deadline_passed())
        case "stopping":
            return Failed(client_error.unavailable("this dispatcher"))
        case why:
            return Cancelled(why)


def _receipt(
    run: Run, attempt: Attempt, failure: str | None, status: int | None, took: timedelta
) -> AttemptReceipt:
    return AttemptReceipt(
        provider=attempt.endpoint.provider,
        endpoint=attempt.endpoint.id,
        model=attempt.model,
        tier=attempt.tier,
        credential_id=attempt.credential.credential_id if attempt.is_byok else None,
        credential_label=attempt.credential.label if attempt.is_byok else None,
        status=status,
        failure=failure,
        latency_ms=round(took.total_seconds() * 1000),
        prices=None if failure is None else attempt.endpoint.prices,
        upstream_id=run.upstream_id,
        usage=None if failure is None else run.usage,
    )
