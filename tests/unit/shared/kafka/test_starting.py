"""A client whose start is cancelled has started all the same, or was given up on, when that ends."""

import asyncio

import pytest

from shared.kafka.starting import start_whole
from shared.tasks import TaskScope


async def test_a_cancelled_start_is_over_before_the_cancellation_goes_on() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def start() -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    async with TaskScope() as scope:
        task = scope.start(start_whole(start()), name="start")
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert ended.is_set()


async def test_a_start_that_never_ends_is_given_up_on() -> None:
    given_up = asyncio.Event()

    async def start() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            given_up.set()

    async with TaskScope() as scope:
        task = scope.start(start_whole(start()), name="start")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)

    assert given_up.is_set()


async def test_a_failing_start_fails() -> None:
    async def start() -> None:
        raise ConnectionError("no broker")

    with pytest.raises(ConnectionError, match="no broker"):
        await start_whole(start())
