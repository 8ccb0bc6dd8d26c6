"""Which ingresses live, and which generations nobody wants any more.

Nobody is judged dead by silence alone: a paused broker, or a reader of ours that stands still, makes
everyone look dead. Only when something else was heard 5 s after an ingress's last sign is it dead.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Final

from shared.ids import GenerationId, InstanceId

SILENT_SECONDS: Final = 5.0
CANCELLED_MAX: Final = 100_000


class IngressesHeard:
    """When each ingress was last heard, on a monotonic clock."""

    def __init__(self) -> None:
        """Nobody was heard yet."""
        self._last: dict[InstanceId, float] = {}
        self._evidence = 0.0

    def heard(self, instance: InstanceId, at_seconds: float) -> None:
        """An ingress said that it lives; so our reading works, too."""
        self._last[instance] = at_seconds
        self._evidence = at_seconds

    def reading_works(self, at_seconds: float) -> None:
        """Something else came from the broker just now."""
        self._evidence = max(self._evidence, at_seconds)

    def waits_on_us(self, instance: InstanceId, at_seconds: float) -> None:
        """A request of this ingress arrived: from now on it is expected to be heard."""
        self._last.setdefault(instance, at_seconds)

    def dead(self) -> list[InstanceId]:
        """Those silent for 5 s while others were heard; each is named once."""
        found = [
            instance
            for instance, last in self._last.items()
            if self._evidence - last >= SILENT_SECONDS
        ]
        for instance in found:
            del self._last[instance]
        return found


class CancelledGenerations:
    """Cancelled ids until their deadline, since a cancellation can overtake its request."""

    def __init__(self) -> None:
        """Nothing is cancelled."""
        self._deadlines: OrderedDict[GenerationId, datetime] = OrderedDict()

    def add(self, generation_id: GenerationId, *, deadline: datetime, now: datetime) -> None:
        """Remember a cancellation; the oldest are forgotten past CANCELLED_MAX."""
        while self._deadlines:
            oldest = next(iter(self._deadlines.values()))
            if oldest > now and len(self._deadlines) < CANCELLED_MAX:
                break
            self._deadlines.popitem(last=False)
        if deadline > now:
            self._deadlines[generation_id] = deadline

    def __contains__(self, generation_id: GenerationId) -> bool:
        return generation_id in self._deadlines

    def __len__(self) -> int:
        return len(self._deadlines)
