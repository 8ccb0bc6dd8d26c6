from datetime import timedelta

import msgspec

from services.billing.domain.dead_letter import (
    Acknowledgement,
    DeadLetter,
    Position,
    acknowledgement_of,
    distinct,
)
from services.billing.domain.period import Period
from services.billing.outbound.dead_letters import dead_letter
from services.billing.use_cases.reconcile import Report
from shared.events.codec import Received
from shared.events.dead_letters import DeadLettered
from shared.events.envelope import Envelope, Event
from shared.events.payments import PaymentNotBooked
from shared.ids import EventId
from tests.unit.billing.made import NOW

PLACE = Position(topic="inference.generations", partition=3, offset=17)
LETTER = DeadLetter(position=PLACE, event_id="e", reason="no fact")
DECIDED = Acknowledgement(
    position=PLACE, event_id="e", letter="no fact", reason="nothing was due", by="ada", at=NOW
)
PUT_ASIDE = DeadLettered(
    topic=PLACE.topic,
    partition=PLACE.partition,
    offset=PLACE.offset,
    consumer="billing.facts",
    reason="no fact",
    event_id="e",
    dead_at=NOW,
)
PAYMENT = PaymentNotBooked(
    provider="stripe",
    event_id="evt_1",
    event_type="charge.refunded",
    reason="there is no such account",
    payment_id="stripe/pi_1",
    account_id="nobody\ndead-letter: made up",
    amount=500,
    currency="usd",
)


def read(event: Event) -> DeadLetter | None:
    envelope = Envelope(id=EventId("stripe/evt_1"), source="test", type="", time=NOW)
    received = Received(
        envelope=envelope,
        event=event,
        key=None,
        headers={},
        content=None,
        topic="dead-letters",
        partition=0,
        offset=5,
    )
    return dead_letter(received, {"billing.facts", "billing.commands"})


def test_a_record_that_billing_put_aside_is_named_by_where_it_stands() -> None:
    assert read(PUT_ASIDE) == LETTER
    assert str(LETTER) == "inference.generations partition 3 offset 17: no fact"
    commanded = msgspec.structs.replace(
        PUT_ASIDE, topic="billing.commands", consumer="billing.commands", event_id=None
    )
    found = read(commanded)
    assert found is not None
    assert (found.position.topic, found.event_id) == ("billing.commands", "")


def test_what_others_put_aside_and_questions_are_no_money() -> None:
    for consumer in ("dispatcher", "billing.queries", "key-vault"):
        assert read(msgspec.structs.replace(PUT_ASIDE, consumer=consumer)) is None


def test_a_payment_that_was_not_booked_is_named_by_its_letter_in_one_line() -> None:
    found = read(PAYMENT)
    assert found is not None
    assert found.position == Position(topic="dead-letters", partition=0, offset=5)
    assert found.event_id == "stripe/evt_1"
    line = str(found)
    for part in ("charge.refunded", "evt_1", "stripe/pi_1", "500", "usd", "no such account"):
        assert part in line
    assert "\n" not in line


def test_a_decision_is_about_one_record_and_not_about_another_in_its_place() -> None:
    assert acknowledgement_of(LETTER, [DECIDED]) == DECIDED
    another = DeadLetter(position=PLACE, event_id="f", reason="no fact")
    elsewhere = DeadLetter(
        position=Position(topic=PLACE.topic, partition=3, offset=18), event_id="e", reason="no fact"
    )
    assert acknowledgement_of(another, [DECIDED]) is None
    assert acknowledgement_of(elsewhere, [DECIDED]) is None
    assert acknowledgement_of(LETTER, []) is None


def test_a_report_is_clean_once_each_letter_has_its_decision() -> None:
    period = Period(begin=NOW, end=NOW + timedelta(days=1))
    for letters, acknowledged, clean in ((0, 0, True), (2, 1, False), (2, 2, True)):
        report = Report(period=period, dead_letters=letters, dead_letters_acknowledged=acknowledged)
        assert report.clean is report.as_json()["clean"] is clean


def test_what_was_put_aside_twice_is_one_letter() -> None:
    first = DeadLetter(
        position=Position(topic=PLACE.topic, partition=3, offset=2), event_id="a", reason="x"
    )
    assert distinct([LETTER, first, LETTER]) == [first, LETTER]
