"""One completion, or one request for embeddings: from a body that was checked to the parts of its answer.

Whenever the answer ends with an error of ours, the generation is abandoned, so that nothing of it is
charged; whenever the client leaves first, it is cancelled and charged for what was delivered.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum, auto
from typing import Final, assert_never

import msgspec

from services.ingress.domain import limits, models, refusals
from services.ingress.domain.api_key import Caller
from services.ingress.domain.embeddings_request import AnyRequest
from services.ingress.domain.liveness import Verdict
from services.ingress.domain.refusals import Refusal
from services.ingress.ports import NEVER_TAKEN, Announcements, Catalog, Requests, WireKeys
from services.ingress.use_cases.waiting import (
    ClientTooSlow,
    Ending,
    Frame,
    FrameMissing,
    WaitingGeneration,
    WaitingGenerations,
)
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.completions import CompletionRequested, ReplyFrame
from shared.events.envelope import type_of
from shared.events.generations import RequestOrigin
from shared.events.replies import ReplyCompleted, ReplyFailed, ReplyPart
from shared.ids import GenerationId, InstanceId
from shared.sealing import Seal, SealBroken

START_SECONDS: Final = 15
"""No dispatcher may begin a request after this long."""
_TIME_TO_START: Final = timedelta(seconds=START_SECONDS)
_REQUESTED: Final = type_of(CompletionRequested)
_FRAME: Final = type_of(ReplyFrame)
_parts: Final = msgspec.json.Decoder(list[ReplyPart])


class Idle(Enum):
    """Nothing came for as long as was asked to wait."""

    IDLE = auto()


class Piece(msgspec.Struct, frozen=True):
    """What one frame held; after the last one nothing comes."""

    parts: Sequence[ReplyPart]
    is_last: bool


class Completion:
    """A generation that runs. Leave it through `close`, however it ends."""

    __slots__ = (
        "_announcements",
        "_is_over",
        "_seal",
        "_waiting",
        "_waits",
        "generation_id",
    )

    def __init__(
        self,
        waits: WaitingGeneration,
        *,
        seal: Seal,
        waiting: WaitingGenerations,
        announcements: Announcements,
    ) -> None:
        """Made by `CompleteChat.begin`."""
        self.generation_id = waits.generation_id
        self._waits = waits
        self._waiting = waiting
        self._announcements = announcements
        self._seal = seal
        self._is_over = False

    async def next(self, idle_seconds: float | None = None) -> Piece | Refusal | Idle:
        """The next piece of the answer; a Refusal is its end, by a fault that is ours.

        Idle only where there is a limit to waiting for it.
        """
        got = await self._waits.next(idle_seconds)
        match got:
            case None:
                return Idle.IDLE
            case Frame():
                return self._opened(got)
            case _:
                return self._ended(got)

    def close(self, reason: str) -> None:
        """Nobody waits any more: before the end that is a cancellation, for `reason`."""
        self._waiting.remove(self._waits)
        if not self._is_over:
            self._is_over = True
            self._announcements.cancel(self.generation_id, run_id=None, reason=reason)

    def fail(self, reason: str) -> None:
        """A bug of ours ended the answer."""
        if not self._is_over:
            self._abandon(reason)

    def _opened(self, frame: Frame) -> Piece | Refusal:
        try:
            parts = _parts.decode(self._seal.open(_FRAME, frame.run_id, frame.number, frame.sealed))
        except (SealBroken, msgspec.MsgspecError, UnicodeDecodeError):
            self._abandon("unreadable_frame")
            return refusals.internal()
        if frame.is_last:
            if not parts or not isinstance(parts[-1], ReplyCompleted | ReplyFailed):
                self._abandon("no_ending")
                return refusals.internal()
            self._is_over = True
            if isinstance(parts[-1], ReplyFailed) and parts[-1].abandon:
                self._abandon("fact_not_acknowledged")
        return Piece(parts, frame.is_last)

    def _ended(self, ending: Ending) -> Refusal:
        match ending:
            case ClientTooSlow():
                # its own doing: what was delivered counts
                self.close("client_gone")
                return refusals.body_late("the client reads its answer too slowly")
            case FrameMissing():
                self._abandon("frame_missing")
                return refusals.internal()
            case Verdict.OUT_OF_TIME:
                self._abandon("out_of_time")
                return refusals.out_of_time("the completion ran out of time")
            case Verdict.NEVER_BEGUN | Verdict.DISPATCHER_LOST | Verdict.BROKER_LOST:
                self._abandon(ending.name.lower())
                return refusals.unavailable("the completion was interrupted; please try again")
            case _:
                assert_never(ending)

    def _abandon(self, reason: str) -> None:
        self._is_over = True
        self._announcements.abandon(
            self.generation_id, account_id=self._waits.account_id, reason=reason
        )
        self._announcements.cancel(self.generation_id, run_id=None, reason="abandoned")


class CompleteChat:
    """Begins completions."""

    def __init__(
        self,
        *,
        instance_id: InstanceId,
        reply_partition: int,
        limits: limits.InFlightLimits,
        generation_seconds_max: float,
        catalog: Catalog,
        wire_keys: WireKeys,
        requests: Requests,
        announcements: Announcements,
        waiting: WaitingGenerations,
        clock: Clock,
    ) -> None:
        """`reply_partition` is this process's own."""
        self._instance_id = instance_id
        self._reply_partition = reply_partition
        self._limits = limits
        self._generation_seconds_max = generation_seconds_max
        self._time_to_end = timedelta(seconds=generation_seconds_max)
        self._catalog = catalog
        self._wire_keys = wire_keys
        self._requests = requests
        self._announcements = announcements
        self._waiting = waiting
        self._clock = clock

    async def begin(
        self,
        generation_id: GenerationId,
        caller: Caller,
        request: AnyRequest,
        body: bytes,
        *,
        anthropic_betas: Sequence[str] = (),
        origin: RequestOrigin | None = None,
    ) -> Completion | Refusal:
        """Ask for the completion; returns once that is durable. The betas were checked before.

        Raises Unavailable when something we need does not answer.
        """
        refusal = self._refusal(caller, request)
        if refusal is not None:
            return refusal
        data_key = self._wire_keys.current()
        now, received_at = self._clock.monotonic(), self._clock.now()
        waits = WaitingGeneration(
            generation_id,
            account_id=caller.account_id,
            start_by=now + START_SECONDS,
            deadline=now + self._generation_seconds_max,
        )
        event = CompletionRequested(
            generation_id=generation_id,
            account_id=caller.account_id,
            api_key_hash=caller.api_key_hash,
            member_id=caller.member_id,
            operation=request.OPERATION,
            byok_only=caller.is_byok_only or request.is_byok_only,
            anthropic_betas=tuple(anthropic_betas),
            api_key_limit_counts_byok=caller.limit.counts_byok,
            api_key_limit=caller.told_limit,
            wire_key=data_key.wrapped,
            reply_instance=self._instance_id,
            reply_partition=self._reply_partition,
            received_at=received_at,
            start_by=received_at + _TIME_TO_START,
            deadline=received_at + self._time_to_end,
            origin=origin,
        )
        seal = Seal(data_key.plaintext, generation_id)
        completion = Completion(
            waits, seal=seal, waiting=self._waiting, announcements=self._announcements
        )
        self._waiting.add(waits)
        try:
            await self._requests.emit(event, seal.seal(_REQUESTED, "", 0, body))
        except Unavailable:
            # it may arrive after all, and must then neither run on nor be charged
            completion.fail(NEVER_TAKEN)
            completion.close("abandoned")
            raise
        except BaseException:
            completion.close("client_gone")
            raise
        return completion

    def _refusal(self, caller: Caller, request: AnyRequest) -> Refusal | None:
        problem = self._catalog.problem()
        if problem is not None:
            raise Unavailable("catalog", problem)
        return models.check_models(
            request.requested_models,
            self._catalog.slugs(),
            self._catalog.embedding_slugs(),
            operation=request.OPERATION,
        ) or limits.may_begin(
            self._limits,
            account_in_flight=self._waiting.of_account(caller.account_id),
            process_in_flight=len(self._waiting),
        )
