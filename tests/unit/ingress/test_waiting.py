import asyncio

from services.ingress.domain.limits import InFlightLimits, may_begin
from services.ingress.domain.liveness import Verdict
from services.ingress.domain.runs import AdoptedRun, Step
from services.ingress.outbound.measurements import CountedGenerations
from services.ingress.use_cases.waiting import (
    BUFFER_BYTES_MAX,
    ClientTooSlow,
    Frame,
    FrameMissing,
    WaitingGeneration,
    WaitingGenerations,
)
from shared.events.completions import ReplyFrame
from shared.ids import AccountId, GenerationId, RunId
from shared.tasks import TaskScope
from shared.telemetry.metrics import Metrics
from tests.unit.ingress.worlds import FrozenClock, NoMeasurements, RecordedAnnouncements

GENERATION = GenerationId("gen-1")
ONE, TWO = RunId("run-1"), RunId("run-2")


def made() -> tuple[WaitingGenerations, WaitingGeneration, RecordedAnnouncements]:
    announcements = RecordedAnnouncements()
    waiting = WaitingGenerations(
        clock=FrozenClock(), announcements=announcements, measurements=NoMeasurements()
    )
    generation = WaitingGeneration(
        GENERATION,
        account_id=AccountId("a-1"),
        start_by=15.0,
        deadline=600.0,
    )
    waiting.add(generation)
    return waiting, generation, announcements


def frame(run_id: RunId, number: int) -> ReplyFrame:
    return ReplyFrame(generation_id=GENERATION, run_id=run_id, number=number)


def test_each_scrape_tells_how_many_wait_now() -> None:
    metrics = Metrics()
    waiting, generation, _ = made()
    CountedGenerations(metrics).watch(waiting)

    assert b"openroute_generations_in_flight 1.0\n" in metrics.render()
    waiting.remove(generation)
    assert b"openroute_generations_in_flight 0.0\n" in metrics.render()


def test_the_first_run_is_adopted_and_others_are_rivals_once() -> None:
    run = AdoptedRun()
    assert run.take(ONE, 0) is Step.NEXT
    assert run.take(TWO, 0) is Step.RIVAL
    assert run.take(TWO, 1) is Step.REPEATED
    assert run.take(ONE, 0) is Step.REPEATED
    assert run.take(ONE, 1) is Step.NEXT
    assert run.take(ONE, 3) is Step.GAP


def test_a_run_that_does_not_begin_at_zero_is_a_gap() -> None:
    assert AdoptedRun().take(ONE, 1) is Step.GAP


async def test_frames_come_out_in_order_then_idle() -> None:
    waiting, generation, _ = made()
    waiting.on_frame(frame(ONE, 0), b"a")
    waiting.on_frame(frame(ONE, 1), b"b")
    assert await generation.next(1) == Frame(ONE, 0, is_last=False, sealed=b"a")
    assert await generation.next(1) == Frame(ONE, 1, is_last=False, sealed=b"b")
    assert await generation.next(0.001) is None


async def test_without_a_limit_it_waits_for_a_frame_or_an_end() -> None:
    waiting, generation, _ = made()
    async with TaskScope() as scope:
        first = scope.start(generation.next(None), name="first")
        await asyncio.sleep(0)
        assert not first.done()
        waiting.on_frame(frame(ONE, 0), b"a")
        assert await first == Frame(ONE, 0, is_last=False, sealed=b"a")

        second = scope.start(generation.next(None), name="second")
        await asyncio.sleep(0)
        generation.end(Verdict.OUT_OF_TIME)
        assert await second is Verdict.OUT_OF_TIME


async def test_frames_before_a_gap_still_come_out() -> None:
    waiting, generation, _ = made()
    waiting.on_frame(frame(ONE, 0), b"a")
    waiting.on_frame(frame(ONE, 2), b"c")
    assert isinstance(await generation.next(1), Frame)
    assert isinstance(await generation.next(1), FrameMissing)


def test_a_rival_is_cancelled_by_name() -> None:
    waiting, _, announcements = made()
    waiting.on_frame(frame(ONE, 0), b"a")
    waiting.on_frame(frame(TWO, 0), b"x")
    assert announcements.cancelled == [(GENERATION, TWO, "rival_run")]


async def test_a_client_that_reads_too_slowly_loses_its_answer() -> None:
    waiting, generation, _ = made()
    waiting.on_frame(frame(ONE, 0), bytes(BUFFER_BYTES_MAX))
    waiting.on_frame(frame(ONE, 1), b"x")
    assert isinstance(await generation.next(1), ClientTooSlow)


def test_frames_for_nobody_are_dropped() -> None:
    waiting, generation, _ = made()
    waiting.remove(generation)
    waiting.remove(generation)
    waiting.on_frame(frame(ONE, 0), b"a")
    assert waiting.of_account(AccountId("a-1")) == 0


def test_an_account_over_its_share_is_told_429_and_a_full_process_503() -> None:
    limits = InFlightLimits(per_account=2, per_process=3)
    assert may_begin(limits, account_in_flight=1, process_in_flight=2) is None
    over = may_begin(limits, account_in_flight=2, process_in_flight=2)
    full = may_begin(limits, account_in_flight=0, process_in_flight=3)
    assert (over and over.status, full and full.status) == (429, 503)
