"""A scope waits for its tasks and remembers the first that failed."""

import asyncio

import pytest

from shared.tasks import TaskScope


async def test_leaving_the_scope_ends_what_still_runs() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with TaskScope() as scope:
        scope.start(forever(), name="forever")
        await asyncio.sleep(0)

    assert ended.is_set()


async def test_a_failure_is_remembered_and_does_not_cancel_the_body() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async with TaskScope() as scope:
        scope.start(fail(), name="fail")
        async with asyncio.timeout(5):
            await scope.failed.wait()

        assert isinstance(scope.failure, ValueError)


async def test_draining_tells_whether_all_ended_in_time() -> None:
    async with TaskScope() as scope:
        scope.start(asyncio.sleep(0), name="short")
        assert await scope.drain(deadline_seconds=5)

        scope.start(asyncio.Event().wait(), name="long")
        assert not await scope.drain(deadline_seconds=0.01)


async def test_cancelling_the_owner_cancels_the_tasks() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def owner() -> None:
        async with TaskScope() as scope:
            scope.start(forever(), name="forever")
            await asyncio.Event().wait()

    async with TaskScope() as outer:
        task = outer.start(owner(), name="owner")
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert ended.is_set()
