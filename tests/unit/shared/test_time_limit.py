"""Time limits end what they guard, at their time and not before, and nothing else."""

import asyncio
from functools import partial

import pytest

from shared.tasks import TaskScope
from shared.time_limit import TICK_SECONDS, Alarm, TimeLimit

LONG_SECONDS = 60.0


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_what_takes_too_long_is_cancelled_and_told_as_a_timeout() -> None:
    began = asyncio.get_running_loop().time()

    with pytest.raises(TimeoutError), TimeLimit(0.02) as limit:
        await for_ever()

    assert limit.has_passed
    assert asyncio.get_running_loop().time() - began >= 0.02
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_ends_in_time_is_left_alone_afterwards() -> None:
    with TimeLimit(TICK_SECONDS) as limit:
        await asyncio.sleep(0)
    rung = asyncio.Event()
    Alarm(TICK_SECONDS * 2, rung.set)

    await rung.wait()

    assert not limit.has_passed


async def test_an_error_of_the_block_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="its own"), TimeLimit(LONG_SECONDS):
        raise ValueError("its own")


async def test_a_cancellation_from_outside_is_no_timeout() -> None:
    seen: list[BaseException] = []

    async def guarded() -> None:
        try:
            with TimeLimit(LONG_SECONDS):
                await for_ever()
        except BaseException as error:
            seen.append(error)
            raise

    async with TaskScope() as scope:
        task = scope.start(guarded(), name="guarded")
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    assert [type(error) for error in seen] == [asyncio.CancelledError]


async def test_an_outer_limit_passes_through_an_inner_one() -> None:
    with pytest.raises(TimeoutError), TimeLimit(0.01) as outer, TimeLimit(LONG_SECONDS) as inner:
        await for_ever()

    assert outer.has_passed
    assert not inner.has_passed


async def test_an_inner_limit_leaves_the_outer_one_standing() -> None:
    with TimeLimit(LONG_SECONDS) as outer:
        with pytest.raises(TimeoutError), TimeLimit(0.01):
            await for_ever()
        await asyncio.sleep(0)

    assert not outer.has_passed


async def test_the_end_can_be_brought_forward() -> None:
    limit = TimeLimit(LONG_SECONDS)
    Alarm(0.0, limit.pass_now)

    with pytest.raises(TimeoutError), limit:
        await for_ever()

    limit.pass_now()
    await asyncio.sleep(0)  # would raise, had the limit cancelled the task after its block


async def test_alarms_of_one_moment_ring_each_once_and_a_cancelled_one_does_not() -> None:
    rung: list[int] = []
    last = asyncio.Event()
    alarms = [Alarm(0.01, partial(rung.append, n)) for n in range(5)]
    Alarm(0.01 + TICK_SECONDS * 2, last.set)
    alarms[2].cancel()

    await last.wait()
    alarms[0].cancel()

    assert sorted(rung) == [0, 1, 3, 4]


async def test_an_alarm_may_cancel_another_of_the_same_moment() -> None:
    rung: list[str] = []
    last = asyncio.Event()
    alarms: dict[str, Alarm] = {}

    def ring(name: str, other: str) -> None:
        rung.append(name)
        alarms[other].cancel()

    alarms["a"] = Alarm(0.01, lambda: ring("a", "b"))
    alarms["b"] = Alarm(0.01, lambda: ring("b", "a"))
    Alarm(0.01 + TICK_SECONDS * 2, last.set)

    await last.wait()

    assert len(rung) == 1
