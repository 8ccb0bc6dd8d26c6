"""Which runs are under way here, and how to end one from outside."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from services.dispatcher.domain.liveness import CancelledGenerations
from shared.events.completions import CompletionRequested, GenerationCancelled
from shared.ids import GenerationId, InstanceId, RunId
from shared.time_limit import TimeLimit


class Handle:
    """One run as others see it. `why` is set once somebody has ended it."""

    __slots__ = ("asked", "bounds", "is_finishing", "run_id", "why")

    def __init__(self, asked: CompletionRequested, run_id: RunId) -> None:
        """`bounds` is the time limit that the run's work stands in, once it has begun."""
        self.asked = asked
        self.run_id = run_id
        self.bounds: TimeLimit | None = None
        self.is_finishing = False
        self.why: str | None = None

    def end(self, why: str) -> None:
        """Stop the run's work at once; it still tells the world how it ended."""
        if self.is_finishing or self.why is not None:
            return
        self.why = why
        if self.bounds is not None:
            self.bounds.pass_now()


class Running:
    """All runs of this process, and the cancellations that came before their requests."""

    def __init__(self) -> None:
        """Nothing runs."""
        self._handles: dict[RunId, Handle] = {}
        self._runs_of: dict[GenerationId, set[RunId]] = {}
        self._cancelled = CancelledGenerations()

    def __len__(self) -> int:
        return len(self._handles)

    def begin(self, handle: Handle) -> None:
        """A run begins."""
        self._handles[handle.run_id] = handle
        self._runs_of.setdefault(handle.asked.generation_id, set()).add(handle.run_id)

    def over(self, handle: Handle) -> None:
        """A run is over."""
        self._handles.pop(handle.run_id, None)
        runs = self._runs_of.get(handle.asked.generation_id)
        if runs is not None:
            runs.discard(handle.run_id)
            if not runs:
                del self._runs_of[handle.asked.generation_id]

    def is_unwanted(self, generation_id: GenerationId) -> bool:
        """Whether the generation was cancelled before it came here."""
        return generation_id in self._cancelled

    def cancel(self, cancelled: GenerationCancelled, now: datetime) -> None:
        """The ingress does not want a generation, or one run of it, any more."""
        if cancelled.run_id is None:  # a run that is named has begun already
            self._cancelled.add(cancelled.generation_id, deadline=cancelled.deadline, now=now)
        for run_id in tuple(self._runs_of.get(cancelled.generation_id, ())):
            if cancelled.run_id is None or cancelled.run_id == run_id:
                self._handles[run_id].end(cancelled.reason)

    def ingress_died(self, instance: InstanceId) -> None:
        """Nobody is left to hear the answers for this ingress."""
        for handle in tuple(self._handles.values()):
            if handle.asked.reply_instance == instance:
                handle.end("ingress_gone")

    def end_all(self, why: str) -> None:
        """The process stops and cannot wait any longer."""
        for handle in tuple(self._handles.values()):
            handle.end(why)

    def held_for_each_partition(self) -> Mapping[int, list[GenerationId]]:
        """The generations held, by the reply partition of the ingress that waits."""
        held: dict[int, list[GenerationId]] = {}
        for handle in self._handles.values():
            asked = handle.asked
            held.setdefault(asked.reply_partition, []).append(asked.generation_id)
        return held

    def __iter__(self) -> Iterator[Handle]:
        return iter(tuple(self._handles.values()))
