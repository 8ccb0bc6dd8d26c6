"""Events survive Kafka; what is wrong is named by its place and never quoted."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from shared.errors import PoisonRecord
from shared.events import codec
from shared.events.completions import ReplyFrame
from shared.events.generations import GenerationAbandoned
from shared.events.routing import AttemptTarget, FallbackDecided
from shared.events.topics import INFERENCE_GENERATIONS, INGRESS_REPLIES, ROUTING_FALLBACKS
from shared.ids import AccountId, CredentialId, RunId, new_generation_id
from shared.kafka.record import Record

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVENT = GenerationAbandoned(
    generation_id=new_generation_id(), account_id=AccountId("account"), reason="test"
)


def record(event: GenerationAbandoned = EVENT) -> Record:
    return codec.encode(
        INFERENCE_GENERATIONS,
        event,
        key="account",
        event_id="id-1",
        source="ingress-0",
        time=NOW,
        extra_headers=[("traceparent", b"00-abc")],
    )


def decode(
    sent: Record,
    *,
    value: bytes | None = None,
    headers: Sequence[tuple[str, bytes]] | None = None,
) -> codec.Received:
    return codec.decode(
        topic=sent.topic,
        partition=3,
        offset=7,
        key=sent.key,
        value=sent.value if value is None else value,
        headers=sent.headers if headers is None else headers,
    )


def test_an_event_survives_with_its_cloudevents_attributes() -> None:
    received = decode(record())

    assert received.event == EVENT
    assert received.envelope.id == "id-1"
    assert received.envelope.source == "ingress-0"
    assert received.envelope.type == "openroute.GenerationAbandoned.v1"
    assert received.envelope.time == NOW
    assert received.envelope.traceparent == "00-abc"
    assert (received.partition, received.offset) == (3, 7)


def test_content_travels_as_it_is_and_the_event_beside_it() -> None:
    frame = ReplyFrame(generation_id=EVENT.generation_id, run_id=RunId("r"), number=0)
    sent = codec.encode(
        INGRESS_REPLIES,
        frame,
        key="k",
        event_id="i",
        source="s",
        time=NOW,
        content=b"\x00sealed",
        partition=4,
    )

    received = decode(sent)

    assert sent.value == b"\x00sealed"
    assert sent.partition == 4
    assert received.event == frame
    assert received.content == b"\x00sealed"


def test_the_fields_of_a_fallback_have_their_documented_names() -> None:
    event = FallbackDecided(
        generation_id=EVENT.generation_id,
        run_id=RunId("r"),
        account_id=AccountId("a"),
        model="openai/gpt-4o",
        from_=AttemptTarget(
            provider="azure",
            endpoint="azure/gpt-4o",
            credential_id=CredentialId("c"),
            tier="prioritized",
        ),
        to=AttemptTarget(provider="openai", endpoint="openai", credential_id=None, tier="shared"),
        reason="rate_limited",
        provider_status=429,
    )
    sent = codec.encode(ROUTING_FALLBACKS, event, key="a", event_id="i", source="s", time=NOW)

    assert b'"from":{"provider":"azure"' in (sent.value or b"")
    assert b'"credential_id":null,"tier":"shared"' in (sent.value or b"")


def test_fields_that_a_later_version_added_are_ignored() -> None:
    extended = (record().value or b"")[:-1] + b',"added_later":{"x":1}}'

    assert decode(record(), value=extended).event == EVENT


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "unreadable"),
        (b"{", "unreadable"),
        (b'{"added_later":' + b"[" * 100_000, "unreadable"),
        (b"[]", "invalid openroute.GenerationAbandoned.v1: Expected `object`"),
        (b'{"generation_id":"g","account_id":7,"reason":"r"}', "at `$.account_id`"),
        (b'{"account_id":"a","reason":"r"}', "missing required field `generation_id`"),
        (b"\xff\xfe", "unreadable"),
    ],
)
def test_a_value_that_is_no_such_event_is_poison(value: bytes, reason: str) -> None:
    with pytest.raises(PoisonRecord) as caught:
        decode(record(), value=value)

    assert reason in caught.value.reason


@pytest.mark.parametrize("missing", ["ce_id", "ce_source", "ce_type", "ce_time"])
def test_a_record_without_its_attributes_is_poison(missing: str) -> None:
    headers = [header for header in record().headers if header[0] != missing]

    with pytest.raises(PoisonRecord, match=missing):
        decode(record(), headers=headers)


def test_an_unknown_type_and_a_malformed_time_are_poison() -> None:
    for replaced in (("ce_type", b"openroute.Unknown.v9"), ("ce_time", b"yesterday")):
        headers = [replaced if replaced[0] == name else (name, v) for name, v in record().headers]
        with pytest.raises(PoisonRecord):
            decode(record(), headers=headers)


def test_what_is_wrong_is_never_quoted() -> None:
    canary = b'{"generation_id":"g","account_id":"a","reason":["canary-secret"]}'

    with pytest.raises(PoisonRecord) as caught:
        decode(record(), value=canary)

    assert "canary" not in str(caught.value)


def test_an_event_on_a_topic_that_does_not_carry_it_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="does not belong"):
        codec.encode(ROUTING_FALLBACKS, EVENT, key="k", event_id="i", source="s", time=NOW)
    with pytest.raises(ValueError, match="content"):
        codec.encode(
            INFERENCE_GENERATIONS,
            EVENT,
            key="k",
            event_id="i",
            source="s",
            time=NOW,
            content=b"x",
        )
