"""The process itself: a later start takes over, a stop drains, PostgreSQL may be away."""

import asyncio
from dataclasses import replace

import pytest

from services.ingress.process import Superseded
from services.ingress.wiring import open_ingress
from shared.clock import SystemClock
from shared.ids import new_id
from shared.tasks import TaskScope
from tests.integration.ingress.conftest import World, running
from tests.integration.ingress.scripted_dispatcher import Run
from tests.integration.ingress.test_completions import BODY, answers
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_of_two_with_one_ordinal_the_older_stops_itself(world: World) -> None:
    config = replace(world.config, process=replace(world.config.process, instance_ordinal=1))
    async with (
        open_ingress(config, clock=SystemClock(), new_id=new_id) as older,
        TaskScope() as scope,
    ):
        process = scope.start(older.run(asyncio.Event()), name="older")
        await wait_until(lambda: older.port is not None, deadline_seconds=20)
        async with running(config) as (newer, _):
            await wait_until(process.done, deadline_seconds=10)
            assert newer.port is not None
            assert not newer.is_stopping
        with pytest.raises(Superseded):
            process.result()


async def test_a_stop_waits_for_running_answers_and_takes_no_new_ones(world: World) -> None:
    gate = asyncio.Event()

    async def script(run: Run) -> None:
        await run.say_alive()
        async with asyncio.timeout(5):
            await gate.wait()
        await answers(run)

    world.dispatcher.script = script
    config = replace(world.config, process=replace(world.config.process, instance_ordinal=2))
    async with running(config) as (ingress, stop), TaskScope() as scope:
        url = f"http://127.0.0.1:{ingress.port}/api/v1/chat/completions"

        async def ask() -> int:
            async with world.http.post(url, json=BODY, headers=world.account.headers) as answer:
                return answer.status

        asked = scope.start(ask(), name="client")
        await wait_until(lambda: len(ingress.waiting) == 1, deadline_seconds=5)
        stop.set()
        await wait_until(lambda: ingress.is_stopping, deadline_seconds=5)
        assert ingress.problem() == "is stopping"
        gate.set()
        assert await asked == 200


async def test_what_outlasts_the_drain_is_cancelled(world: World) -> None:
    async def script(run: Run) -> None:
        await run.say_alive()

    world.dispatcher.script = script
    config = replace(
        world.config,
        process=replace(world.config.process, instance_ordinal=3),
        http=replace(world.config.http, drain_seconds=0.5),
    )
    before = len(world.dispatcher.requests)
    async with running(config) as (ingress, stop), TaskScope() as scope:
        url = f"http://127.0.0.1:{ingress.port}/api/v1/chat/completions"

        async def ask() -> None:
            async with world.http.post(url, json=BODY, headers=world.account.headers) as answer:
                await answer.read()

        asked = scope.start(ask(), name="client")
        await wait_until(lambda: len(world.dispatcher.requests) > before, deadline_seconds=5)
        stop.set()
        await wait_until(asked.done, deadline_seconds=10)
        assert asked.exception() is not None
    generation_id = world.dispatcher.requests[before].generation_id
    await wait_until(
        lambda: world.dispatcher.cancellations_of(generation_id) == ["stopping"],
        deadline_seconds=5,
    )
