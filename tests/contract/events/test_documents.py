"""The published language: the document is up to date, and no change breaks who reads v1."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.events import asyncapi
from shared.events.envelope import Event, StateEvent, type_of
from shared.events.topic import Kind, Topic
from shared.events.topics import TOPICS

GOLDEN = Path(__file__).with_name("golden")
EVENTS = sorted({event for topic in TOPICS for event in topic.events}, key=lambda e: e.__name__)


def schema_of(event: type[Event]) -> dict[str, Any]:
    """The event's JSON Schema with every inner type under `$defs`."""
    schema: dict[str, Any] = json.loads(json.dumps(msgspec.json.schema(event)))
    return schema


def breaks(old: Any, new: Any, path: str = "$") -> list[str]:
    """What in `new` would break a reader or writer of `old`.

    Allowed: descriptions, further optional properties, further members of a union or an enum of a
    reply. Everything else that is not the same is reported.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        problems = [
            problem
            for key, value in old.items()
            if key not in {"description", "title", "required"}
            for problem in (
                breaks(value, new[key], f"{path}.{key}")
                if key in new
                else [f"{path}.{key} is gone"]
            )
        ]
        newly_required = set(new.get("required", [])) - set(old.get("required", []))
        problems += [f"{path}: {name} became required" for name in sorted(newly_required)]
        no_longer = set(old.get("required", [])) - set(new.get("required", []))
        problems += [f"{path}: {name} is no longer promised" for name in sorted(no_longer)]
        return problems
    if isinstance(old, list) and isinstance(new, list):
        missing = [item for item in old if item not in new]
        return [f"{path}: {item} is gone" for item in missing]
    return [] if old == new else [f"{path}: {old!r} became {new!r}"]


@pytest.mark.parametrize("event", EVENTS, ids=type_of)
def test_an_event_keeps_what_its_version_promised(event: type[Event]) -> None:
    golden = GOLDEN / f"{type_of(event)}.json"

    assert golden.exists(), f"a new event: write its schema with `make schemas` ({golden.name})"
    problems = breaks(json.loads(golden.read_text(encoding="utf-8")), schema_of(event))
    assert not problems, "make a version 2 of it: " + "; ".join(problems)


def test_every_golden_schema_belongs_to_an_event() -> None:
    known = {f"{type_of(event)}.json" for event in EVENTS}

    assert {file.name for file in GOLDEN.glob("*.json")} == known


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ({"properties": {"a": 1}}, {"properties": {"a": 1, "b": 2}}, False),
        ({"properties": {"a": 1}}, {"properties": {}}, True),
        ({"type": "string"}, {"type": "integer"}, True),
        ({"required": ["a"]}, {"required": ["a", "b"]}, True),
        ({"required": ["a"]}, {"required": []}, True),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, False),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, True),
    ],
)
def test_the_comparison_sees_what_breaks(old: object, new: object, *, broken: bool) -> None:
    assert bool(breaks(old, new)) is broken


def test_the_asyncapi_document_is_up_to_date() -> None:
    assert asyncapi.main(["--check"]) == 0, "run `make schemas`"


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi.document()
    references = re.findall(r'"\$ref":"#/([^"]+)"', msgspec.json.encode(document).decode())

    assert references
    for reference in references:
        # a topic's name has dots, never slashes
        node: Any = document
        for part in reference.split("/"):
            node = node[part]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_is_described_in_full_and_carries_what_its_kind_allows(topic: Topic) -> None:
    assert topic.why
    assert topic.events
    assert topic.producers
    assert topic.consumers
    assert "_" not in topic.name, "Kafka's metric names confuse '.' with '_'"
    if topic.kind is Kind.STATE:
        assert topic.partitions == 1, "a heartbeat proves only its own partition"
        assert topic.retention_ms is None
        assert any(issubclass(event, StateEvent) for event in topic.events)
    else:
        assert topic.retention_ms is not None


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_content_stays_in_kafka_for_minutes_only(topic: Topic) -> None:
    if any(event.HAS_CONTENT for event in topic.events):
        settings = topic.configuration()

        assert int(settings["retention.ms"]) <= 600_000
        assert int(settings["segment.ms"]) <= 600_000


def test_topic_names_are_unique() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
