from datetime import datetime, timedelta

from services.dispatcher.inbound.kafka_cancellations import Cancellations
from services.dispatcher.use_cases.running import Handle, Running
from shared.events.codec import Received
from shared.events.completions import DispatcherAlive, GenerationCancelled, IngressAlive
from shared.events.envelope import Envelope, Event
from shared.ids import EventId, InstanceId, RunId
from tests.unit.dispatcher.made import asked
from tests.unit.dispatcher.world import AdjustableClock


def record(event: Event, at: datetime) -> Received:
    return Received(
        envelope=Envelope(id=EventId("e"), source="test", type="t", time=at),
        event=event,
        key=None,
        headers={},
        content=None,
        topic="inference.cancellations",
        partition=0,
        offset=0,
    )


def alive(instance: InstanceId, at: datetime) -> Received:
    return record(IngressAlive(instance_id=instance, ordinal=0, sent_at=at), at)


def test_our_own_heartbeat_coming_back_lets_a_silent_ingress_be_judged() -> None:
    clock, running = AdjustableClock(), Running()
    cancellations = Cancellations(running, clock=clock)
    request = asked()
    handle = Handle(request, RunId("r"))
    running.begin(handle)
    cancellations.on_record(alive(request.reply_instance, clock.now()))
    clock.advance(6)
    cancellations.judge_now()
    assert handle.why is None
    own = DispatcherAlive(instance_id=InstanceId("dispatcher-0-x"), generation_ids=[])
    cancellations.on_record(record(own, clock.now()))
    cancellations.judge_now()
    assert handle.why == "ingress_gone"


def test_signs_of_life_from_the_past_say_nothing_of_now() -> None:
    clock, running = AdjustableClock(), Running()
    cancellations = Cancellations(running, clock=clock)
    request = asked()
    handle = Handle(request, RunId("r"))
    running.begin(handle)
    cancellations.expect(request.reply_instance)
    clock.advance(6)
    cancellations.on_record(alive(InstanceId("ingress-1"), clock.now() - timedelta(minutes=5)))
    cancellations.judge_now()
    assert handle.why is None


def test_a_cancellation_from_the_past_still_counts() -> None:
    clock, running = AdjustableClock(), Running()
    request = asked()
    cancelled = GenerationCancelled(
        generation_id=request.generation_id, reason="client_gone", deadline=request.deadline
    )
    cancellations = Cancellations(running, clock=clock)
    cancellations.on_record(record(cancelled, clock.now() - timedelta(minutes=2)))
    assert running.is_unwanted(request.generation_id)
