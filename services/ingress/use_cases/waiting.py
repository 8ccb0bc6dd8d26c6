"""Generations whose client waits: where frames, signs of life and endings meet.

What arrives is put in by the reader of the reply partition and taken out by the request's own
handler; both run on one event loop.
"""

import asyncio
from collections import deque
from typing import Final

import msgspec

from services.ingress.domain import liveness
from services.ingress.domain.liveness import OwnHeartbeat, Signs, Verdict
from services.ingress.domain.runs import AdoptedRun, Step
from services.ingress.ports import Announcements, Measurements
from shared.clock import Clock
from shared.events.completions import DispatcherAlive, ReplyFrame
from shared.ids import AccountId, GenerationId, RunId
from shared.time_limit import Alarm

BUFFER_BYTES_MAX: Final = 48 * 1024 * 1024
"""Frames of one generation that its client has not read yet: two of the largest there are."""


class Frame(msgspec.Struct, frozen=True):
    """One frame of the adopted run, still sealed."""

    run_id: RunId
    number: int
    is_last: bool
    sealed: bytes


class FrameMissing(msgspec.Struct, frozen=True):
    """Frames came out of order: a fault of ours."""


class ClientTooSlow(msgspec.Struct, frozen=True):
    """The client reads so slowly that its answer cannot be kept for it."""


Ending = Verdict | FrameMissing | ClientTooSlow


class WaitingGeneration:
    """One generation, from the request's emission to its last frame."""

    __slots__ = (
        "_buffered_bytes",
        "_ending",
        "_frames",
        "_wake",
        "account_id",
        "deadline",
        "generation_id",
        "heard_at",
        "run",
        "start_by",
    )

    def __init__(
        self,
        generation_id: GenerationId,
        *,
        account_id: AccountId,
        start_by: float,
        deadline: float,
    ) -> None:
        """Times are on the clock's monotonic scale."""
        self.generation_id = generation_id
        self.account_id = account_id
        self.start_by = start_by
        self.deadline = deadline
        self.heard_at: float | None = None
        self.run = AdoptedRun()
        self._frames: deque[Frame] = deque()
        self._buffered_bytes = 0
        self._ending: Ending | None = None
        self._wake: asyncio.Future[None] | None = None

    def put(self, frame: Frame) -> None:
        """A frame came."""
        self._buffered_bytes += len(frame.sealed)
        if self._buffered_bytes > BUFFER_BYTES_MAX:
            self._frames.clear()
            self.end(ClientTooSlow())
            return
        self._frames.append(frame)
        self._wake_up()

    def end(self, ending: Ending) -> None:
        """No more frames will come; the first reason stands."""
        if self._ending is None:
            self._ending = ending
        self._wake_up()

    async def next(self, idle_seconds: float | None) -> Frame | Ending | None:
        """The next frame, or why there is none, or None when nothing came for so long.

        Without `idle_seconds` it waits for either: every generation ends, if only by its deadline.
        """
        if not self._frames and self._ending is None:
            self._wake = wake = asyncio.get_running_loop().create_future()
            alarm = None if idle_seconds is None else Alarm(idle_seconds, self._wake_up)
            try:
                await wake
            finally:
                self._wake = None
                if alarm is not None:
                    alarm.cancel()
        if self._frames:
            frame = self._frames.popleft()
            self._buffered_bytes -= len(frame.sealed)
            return frame
        return self._ending

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class WaitingGenerations:
    """All generations that this process waits for."""

    def __init__(
        self, *, clock: Clock, announcements: Announcements, measurements: Measurements
    ) -> None:
        """Nobody waits yet, and our own heartbeat has not been heard."""
        self._clock = clock
        self._announcements = announcements
        self._measurements = measurements
        self._by_id: dict[GenerationId, WaitingGeneration] = {}
        self._in_flight: dict[AccountId, int] = {}
        self._own = OwnHeartbeat(heard_at=clock.monotonic(), trusted_since=None)

    def __len__(self) -> int:
        return len(self._by_id)

    def of_account(self, account_id: AccountId) -> int:
        """How many generations of the account run here."""
        return self._in_flight.get(account_id, 0)

    def add(self, generation: WaitingGeneration) -> None:
        """Begin to wait."""
        self._by_id[generation.generation_id] = generation
        account_id = generation.account_id
        self._in_flight[account_id] = self._in_flight.get(account_id, 0) + 1

    def remove(self, generation: WaitingGeneration) -> None:
        """Stop waiting; what still comes is dropped."""
        if self._by_id.pop(generation.generation_id, None) is None:
            return
        left = self._in_flight[generation.account_id] - 1
        if left:
            self._in_flight[generation.account_id] = left
        else:
            del self._in_flight[generation.account_id]

    def on_frame(self, event: ReplyFrame, sealed: bytes) -> None:
        """A frame was read from our partition."""
        generation = self._by_id.get(event.generation_id)
        if generation is None:
            return
        self._measurements.frame_read()
        match generation.run.take(event.run_id, event.number):
            case Step.NEXT:
                generation.heard_at = self._clock.monotonic()
                generation.put(Frame(event.run_id, event.number, event.last, sealed))
            case Step.RIVAL:
                self._announcements.cancel(
                    event.generation_id, run_id=event.run_id, reason="rival_run"
                )
            case Step.GAP:
                generation.end(FrameMissing())
            case Step.REPEATED:
                return

    def on_dispatcher_alive(self, event: DispatcherAlive) -> None:
        """A dispatcher names the generations that it holds."""
        now = self._clock.monotonic()
        for generation_id in event.generation_ids:
            generation = self._by_id.get(generation_id)
            if generation is not None:
                generation.heard_at = now

    def on_own_heartbeat(self) -> None:
        """Our own heartbeat came back from Kafka."""
        self._own = liveness.heard(self._own, now=self._clock.monotonic())

    def problem(self) -> str | None:
        """Why nobody can be judged, which means that Kafka does not bring our heartbeat back."""
        own = liveness.at(self._own, now=self._clock.monotonic())
        return None if own.is_trusted else "our own heartbeat does not come back from Kafka"

    def judge(self) -> None:
        """End the generations that nobody works at any more."""
        now = self._clock.monotonic()
        self._own = liveness.at(self._own, now=now)
        for generation in self._by_id.values():
            signs = Signs(
                start_by=generation.start_by,
                deadline=generation.deadline,
                heard_at=generation.heard_at,
            )
            verdict = liveness.judge(signs, self._own, now=now)
            if verdict is not None:
                generation.end(verdict)
