from datetime import timedelta

from services.dispatcher.domain.liveness import (
    CANCELLED_MAX,
    CancelledGenerations,
    IngressesHeard,
)
from shared.ids import GenerationId, InstanceId
from tests.unit.dispatcher.made import NOW

ONE, OTHER = InstanceId("ingress-0-a"), InstanceId("ingress-1-b")
GENERATION = GenerationId("gen-1")


def test_an_ingress_is_dead_when_others_are_heard_five_seconds_after_it() -> None:
    heard = IngressesHeard()
    heard.heard(ONE, 100)
    heard.heard(OTHER, 104.9)
    assert heard.dead() == []
    heard.heard(OTHER, 105)
    assert heard.dead() == [ONE]
    assert heard.dead() == []


def test_nobody_is_judged_while_nothing_at_all_is_heard() -> None:
    heard = IngressesHeard()
    heard.heard(ONE, 100)
    heard.heard(OTHER, 100)
    assert heard.dead() == []
    heard.reading_works(101)
    assert heard.dead() == []
    heard.reading_works(105)
    assert set(heard.dead()) == {ONE, OTHER}


def test_an_ingress_that_was_never_heard_counts_from_its_first_request() -> None:
    heard = IngressesHeard()
    heard.waits_on_us(ONE, 100)
    heard.waits_on_us(ONE, 104)
    heard.reading_works(105)
    assert heard.dead() == [ONE]


def test_cancelled_ids_are_remembered_until_their_deadline_and_bounded() -> None:
    cancelled = CancelledGenerations()
    later = NOW + timedelta(minutes=5)
    cancelled.add(GENERATION, deadline=later, now=NOW)
    cancelled.add(GenerationId("gen-old"), deadline=NOW, now=NOW)
    assert GENERATION in cancelled
    assert GenerationId("gen-old") not in cancelled
    cancelled.add(GenerationId("gen-next"), deadline=later, now=later)
    assert GENERATION not in cancelled
    for number in range(CANCELLED_MAX + 5):
        end = later + timedelta(days=1)
        cancelled.add(GenerationId(f"gen-{number}"), deadline=end, now=later)
    assert len(cancelled) <= CANCELLED_MAX
