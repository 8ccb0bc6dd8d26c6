"""Who leaves a call is seen to leave: the provider stops working for nobody."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from services.dispatcher.domain.reply import StreamPiece
from shared.tasks import TaskScope
from tests.contract.providers.builders import request
from tests.contract.providers.conftest import Wire
from tests.simulator.app import Simulator
from tests.support.wait_until import wait_until


def _outcomes(simulator: Simulator) -> list[str]:
    return [call.outcome for call in simulator.calls.since()]


async def _gone(simulator: Simulator) -> None:
    await wait_until(lambda: _outcomes(simulator) == ["client_gone"], deadline_seconds=2)


async def test_cancelling_a_plain_call_that_hangs_closes_it(
    wire: Wire, simulator: Simulator
) -> None:
    async with TaskScope() as scope:
        call = scope.start(wire.complete("hang"), name="call")
        await wait_until(lambda: _outcomes(simulator) == ["running"])
        call.cancel()
        await _gone(simulator)


async def test_cancelling_a_stream_that_hangs_closes_it(wire: Wire, simulator: Simulator) -> None:
    async with TaskScope() as scope:
        call = scope.start(wire.stream("hang"), name="call")
        await wait_until(lambda: _outcomes(simulator) == ["running"])
        call.cancel()
        await _gone(simulator)


async def test_a_deadline_of_the_caller_closes_a_stream_that_hangs(
    wire: Wire, simulator: Simulator
) -> None:
    try:
        async with asyncio.timeout(0.3):
            await wire.stream("hang")
    except TimeoutError:
        pass
    await _gone(simulator)


async def test_leaving_a_stream_between_two_pieces_closes_it(
    wire: Wire, simulator: Simulator
) -> None:
    async with aclosing(_paced(wire)) as pieces:
        await anext(pieces)
        await anext(pieces)
    await _gone(simulator)


async def test_cancelling_while_waiting_for_the_next_piece_closes_the_stream(
    wire: Wire, simulator: Simulator
) -> None:
    seen: list[StreamPiece] = []

    async def read() -> None:
        async with aclosing(_paced(wire)) as pieces:
            async for piece in pieces:
                seen.append(piece)  # noqa: PERF401 - the test looks at it meanwhile

    async with TaskScope() as scope:
        call = scope.start(read(), name="call")
        await wait_until(lambda: len(seen) > 1)
        call.cancel()
        await _gone(simulator)


def _paced(wire: Wire) -> AsyncGenerator[StreamPiece, None]:
    asked = request("hello words=500 pause_ms=20", stream=True)
    return wire.provider.stream(wire.attempt(), wire.secret(), asked)
