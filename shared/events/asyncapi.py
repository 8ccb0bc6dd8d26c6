"""The AsyncAPI 3 document of everything on Kafka, made from the topics table and the event types.

`python -m shared.events.asyncapi` writes `shared/events/asyncapi.json`, and the golden schema of each
event that has none yet; with `--check` it only says whether the document is as it should be.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

from shared.events.envelope import CallReply, Event, type_of
from shared.events.topic import Kind, Topic
from shared.events.topics import TOPICS

DOCUMENT = Path(__file__).with_name("asyncapi.json")
GOLDEN = Path(__file__).parents[2] / "tests" / "contract" / "events" / "golden"
_SCHEMAS = "#/components/schemas/{name}"


def schemas() -> dict[str, Any]:
    """JSON Schema of each event and of the types inside, by class name."""
    events = sorted({event for topic in TOPICS for event in topic.events}, key=lambda e: e.__name__)
    _, components = msgspec.json.schema_components(events, ref_template=_SCHEMAS)
    return dict(sorted(components.items()))


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OpenRoute BYOK",
            "version": "1",
            "description": (
                "Events between the services of OpenRoute BYOK. CloudEvents 1.0, binary mode: "
                "attributes are record headers `ce_*`, the event is the value as JSON. Events "
                "marked `x-sealed` have sealed bytes as their value and their JSON in the header "
                "`event`. `(ce_source, ce_id)` is the dedupe key."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {
            operation: described
            for topic in TOPICS
            for operation, described in _operations(topic).items()
        },
        "components": {"messages": _messages(), "schemas": schemas()},
    }


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": topic.why,
        "messages": {event.__name__: _message_reference(event) for event in topic.events},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.retention_ms is None else "delete"],
                    "max.message.bytes": topic.record_bytes_max,
                }
                | ({} if topic.retention_ms is None else {"retention.ms": topic.retention_ms}),
            }
        },
        "x-kind": topic.kind.value,
        "x-key": topic.key,
        "x-producers": list(topic.producers),
        "x-consumers": list(topic.consumers),
    }


def _operations(topic: Topic) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{topic.name}"}
    sends: dict[str, Any] = {
        f"{service}.send.{topic.name}": {"action": "send", "channel": channel}
        for service in topic.producers
    }
    receives: dict[str, Any] = {
        f"{service}.receive.{topic.name}": {"action": "receive", "channel": channel}
        for service in topic.consumers
    }
    if topic.kind is Kind.CALL:
        for operation in receives.values():
            operation["reply"] = {
                "address": {
                    "description": "topic and partition that the caller owns and reads",
                    "location": "$message.header#/reply_topic",
                }
            }
    return sends | receives


def _message_reference(event: type[Event]) -> dict[str, str]:
    return {"$ref": f"#/components/messages/{event.__name__}"}


def _messages() -> dict[str, Any]:
    events = sorted({event for topic in TOPICS for event in topic.events}, key=lambda e: e.__name__)
    return {event.__name__: _message(event) for event in events}


def _message(event: type[Event]) -> dict[str, Any]:
    headers = {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string"},
        "ce_source": {"type": "string"},
        "ce_type": {"type": "string", "const": type_of(event)},
        "ce_time": {"type": "string", "format": "date-time"},
    }
    if issubclass(event, CallReply):
        headers["ce_correlationid"] = {"type": "string"}
    described: dict[str, Any] = {
        "name": type_of(event),
        "summary": (event.__doc__ or "").strip().splitlines()[0],
        "headers": {"type": "object", "properties": headers, "required": list(headers)},
        "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
    }
    if event.HAS_CONTENT:
        described["contentType"] = "application/octet-stream"
        described["x-sealed"] = True
    if issubclass(event, CallReply):
        described["correlationId"] = {"location": "$message.header#/ce_correlationid"}
    return described


def render() -> bytes:
    """The document's text."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2) + b"\n"


def _promise_new_events() -> None:
    """Write down what a new event promises; what is promised already is never written over."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for event in {event for topic in TOPICS for event in topic.events}:
        golden = GOLDEN / f"{type_of(event)}.json"
        if not golden.exists():
            schema = msgspec.json.encode(msgspec.json.schema(event))
            golden.write_bytes(msgspec.json.format(schema, indent=2) + b"\n")


def main(arguments: list[str]) -> int:
    """Write the document, or check it; the exit status."""
    text = render()
    if "--check" in arguments:
        if DOCUMENT.exists() and DOCUMENT.read_bytes() == text:
            return 0
        sys.stderr.write(f"{DOCUMENT.name} is not up to date: run `make schemas`\n")
        return 1
    DOCUMENT.write_bytes(text)
    _promise_new_events()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
