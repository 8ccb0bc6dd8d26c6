"""The one place that knows how an event becomes a Kafka record and back: CloudEvents, binary mode.

An event is the record's value as JSON. An event with content has the sealed bytes as its value and
itself as JSON in the header `event`. Reading is strict about what is wrong or missing and tolerant
of fields it does not know.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from shared.errors import PoisonRecord
from shared.events.envelope import Envelope, Event, type_of
from shared.events.topic import Topic
from shared.events.topics import TOPICS
from shared.ids import EventId
from shared.kafka.record import Record

Headers = Sequence[tuple[str, bytes]]

_SPEC_VERSION = ("ce_specversion", b"1.0")
_JSON = ("content-type", b"application/json")
_SEALED = ("content-type", b"application/octet-stream")
_encoder = msgspec.json.Encoder()
_classes: Mapping[str, type[Event]] = {
    type_of(event): event for topic in TOPICS for event in topic.events
}
_readers: Mapping[str, tuple[Callable[[bytes], Event], bool]] = {
    name: (msgspec.json.Decoder(event).decode, event.HAS_CONTENT)
    for name, event in _classes.items()
}
_type_headers: Mapping[type[Event], tuple[str, bytes]] = {
    event: ("ce_type", name.encode()) for name, event in _classes.items()
}


class Received(msgspec.Struct, frozen=True):
    """One record, understood. `content` is the sealed value of an event that has content."""

    envelope: Envelope
    event: Event
    key: bytes | None
    headers: Mapping[str, bytes]
    content: bytes | None
    topic: str
    partition: int
    offset: int


def encode(
    topic: Topic,
    event: Event,
    *,
    key: str,
    event_id: str,
    source: str,
    time: datetime,
    content: bytes | None = None,
    partition: int | None = None,
    extra_headers: Headers = (),
) -> Record:
    """Make the record of an event. `source` is the instance that emits it.

    Raises ValueError for an event that the topic does not carry, or whose content is missing or too
    much: a mistake of ours that must not reach the broker.
    """
    cls = type(event)
    if cls not in topic.events:
        raise ValueError(f"{cls.__name__} does not belong on {topic.name}")
    if cls.HAS_CONTENT is not (content is not None):
        raise ValueError(f"{cls.__name__} has content: {cls.HAS_CONTENT}")
    fields = _encoder.encode(event)
    headers: list[tuple[str, bytes]] = [
        _SPEC_VERSION,
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        _type_headers[cls],
        ("ce_time", _encoder.encode(time)[1:-1]),  # an eighth of what isoformat() costs
        _JSON if content is None else _SEALED,
    ]
    if content is not None:
        headers.append(("event", fields))
    headers.extend(extra_headers)
    return Record(
        topic=topic.name,
        key=key.encode(),
        value=fields if content is None else content,
        headers=headers,
        partition=partition,
    )


def decode(
    *,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
) -> Received:
    """Read a record. Raises PoisonRecord naming the class of what is wrong, never its content."""
    found = dict(headers)
    try:
        event_type = found["ce_type"].decode()
        traceparent = found.get("traceparent")
        envelope = Envelope(
            id=EventId(found["ce_id"].decode()),
            source=found["ce_source"].decode(),
            type=event_type,
            time=datetime.fromisoformat(found["ce_time"].decode()),
            traceparent=None if traceparent is None else traceparent.decode(),
        )
    except KeyError as error:
        raise PoisonRecord(f"missing header {error.args[0]}") from error
    except ValueError as error:
        raise PoisonRecord("malformed header") from error
    reader = _readers.get(event_type)
    if reader is None:
        raise PoisonRecord("unknown event type")
    read, has_content = reader
    body = found.get("event") if has_content else value
    if body is None or value is None:
        raise PoisonRecord("no event in the record")
    try:
        event = read(body)
    except msgspec.ValidationError as error:
        raise PoisonRecord(f"invalid {event_type}: {_without_values(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PoisonRecord(f"unreadable {event_type}") from None
    return Received(
        envelope=envelope,
        event=event,
        key=key,
        headers=found,
        content=value if has_content else None,
        topic=topic,
        partition=partition,
        offset=offset,
    )


def _without_values(message: str) -> str:
    """The message of msgspec, or only its path where it would quote the value."""
    if message.startswith(("Expected `", "Object missing required field")):
        return message
    return "wrong value" + message[message.rfind(" - at ") :] if " - at " in message else "wrong"
