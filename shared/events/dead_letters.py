"""Records that could not be understood."""

from datetime import datetime

from shared.events.envelope import Event


class DeadLettered(Event, frozen=True, kw_only=True):
    """Where the record stands and why it was put aside; its payload only where it is no content."""

    topic: str
    partition: int
    offset: int
    consumer: str
    reason: str
    event_type: str | None = None
    event_id: str | None = None
    payload: str | None = None
    dead_at: datetime
