"""What every event has around it: CloudEvents 1.0 attributes, carried as Kafka headers."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.ids import EventId


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The root of all events, commands, replies and states that travel through Kafka.

    The class's name and `VERSION` make the CloudEvents type. Fields may be added with a default;
    anything else is a new version. `HAS_CONTENT` marks events whose record value is customers'
    content, sealed, while their fields ride in the `event` header.
    """

    VERSION: ClassVar[int] = 1
    HAS_CONTENT: ClassVar[bool] = False


def type_of(event: type[Event]) -> str:
    """The CloudEvents type: `openroute.GenerationFinished.v1`."""
    return f"openroute.{event.__name__}.v{event.VERSION}"


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """CloudEvents attributes of one record. `(source, id)` is the dedupe key."""

    id: EventId
    source: str
    type: str
    time: datetime
    traceparent: str | None = None


class CallReply(Event, frozen=True, kw_only=True):
    """The root of what answers a command."""


class StateEvent(Event, frozen=True, kw_only=True):
    """The root of what stands on compacted topics. Views ignore a version below the one they have."""

    version: int


class Heartbeat(Event, frozen=True, kw_only=True):
    """The root of what tells the readers of a compacted topic that it is still being written."""

    instance_id: str
    sent_at: datetime


class Refused(CallReply, frozen=True, kw_only=True):
    """A command was understood and is not carried out.

    `code` is a word for programs (`not_found`, `invalid`, `conflict`), `field` the path of the
    offending part of the command where there is one, `message` says what to do and holds no secret.
    """

    code: str
    message: str
    field: str | None = None
