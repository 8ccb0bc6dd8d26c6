"""What comes to our partition of `ingress.replies`, and what we read of `inference.cancellations`.

Both run on the reading path: they put things where they belong and do nothing else.
"""

import asyncio

from services.ingress.use_cases.waiting import WaitingGenerations
from shared.events.codec import Received
from shared.events.completions import DispatcherAlive, IngressAlive, ReplyFrame
from shared.ids import InstanceId
from shared.kafka.calls import Calls


class Replies:
    """Frames and signs of life to the generations that wait, call replies to their callers."""

    def __init__(self, waiting: WaitingGenerations, calls: Calls) -> None:
        """Give `on_record` to the reader of the reply partition."""
        self._waiting = waiting
        self._calls = calls

    def on_record(self, received: Received) -> None:
        """Take one record."""
        match received.event:
            case ReplyFrame() as frame:
                self._waiting.on_frame(frame, received.content or b"")
            case DispatcherAlive() as alive:
                self._waiting.on_dispatcher_alive(alive)
            case _:
                self._calls.on_record(received)


class Heartbeats:
    """Our own heartbeat, and that of another process that claims our place.

    Of two with one ordinal the one that started later wins: `superseded` is set in the other.
    """

    def __init__(
        self, waiting: WaitingGenerations, *, instance_id: InstanceId, ordinal: int
    ) -> None:
        """Give `on_record` to the reader of the broadcasts."""
        self._waiting = waiting
        self._instance_id = instance_id
        self._ordinal = ordinal
        self.superseded = asyncio.Event()

    def on_record(self, received: Received) -> None:
        """Take one record; cancellations are for dispatchers."""
        event = received.event
        if not isinstance(event, IngressAlive):
            return
        if event.instance_id == self._instance_id:
            self._waiting.on_own_heartbeat()
        elif event.ordinal == self._ordinal and event.instance_id > self._instance_id:
            self.superseded.set()
