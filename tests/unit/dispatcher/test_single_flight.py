import asyncio

import pytest

from services.dispatcher.outbound.single_flight import SingleFlightCache
from shared.errors import Unavailable
from shared.tasks import TaskScope
from tests.support.wait_until import wait_until
from tests.unit.dispatcher.world import AdjustableClock


class Source:
    """Where values come from: counts loads, and waits for the gate in each."""

    def __init__(self) -> None:
        self.loads = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def load(self) -> int:
        self.loads += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.loads


def cache(
    scope: TaskScope, clock: AdjustableClock, *, entries_max: int = 10
) -> SingleFlightCache[str, Source, int]:
    return SingleFlightCache(
        Source.load, seconds_max=60, entries_max=entries_max, clock=clock, scope=scope
    )


async def test_many_who_ask_at_once_make_one_load_even_when_the_first_leaves() -> None:
    source, clock = Source(), AdjustableClock()
    async with TaskScope() as scope:
        kept = cache(scope, clock)
        asking = [scope.start(kept.get("k", source), name="ask") for _ in range(5)]
        await wait_until(lambda: source.loads == 1)
        asking[0].cancel()
        source.gate.set()
        assert await asyncio.gather(*asking[1:]) == [1, 1, 1, 1]
        assert await kept.get("k", source) == 1


async def test_values_end_with_their_time_and_the_longest_unused_go_first() -> None:
    source, clock = Source(), AdjustableClock()
    source.gate.set()
    async with TaskScope() as scope:
        kept = cache(scope, clock, entries_max=2)
        await kept.get("a", source)
        await kept.get("b", source)
        await kept.get("a", source)
        await kept.get("c", source)
        assert len(kept) == 2
        assert await kept.get("a", source) == 1
        clock.advance(61)
        assert await kept.get("a", source) == 4


async def test_a_failed_load_is_told_to_all_and_tried_again_next_time() -> None:
    source, clock = Source(), AdjustableClock()
    source.gate.set()
    source.error = Unavailable("vault")
    async with TaskScope() as scope:
        kept = cache(scope, clock)
        results = await asyncio.gather(
            kept.get("k", source),
            kept.get("k", source),
            return_exceptions=True,
        )
        assert [type(each) for each in results] == [Unavailable, Unavailable]
        source.error = None
        assert await kept.get("k", source) == 2
        assert scope.failure is None
        source.error = Unavailable("vault")
        with pytest.raises(Unavailable):
            await kept.get("other", source)


async def test_what_is_dropped_while_it_is_loaded_is_not_kept() -> None:
    source, clock = Source(), AdjustableClock()
    async with TaskScope() as scope:
        kept = cache(scope, clock)
        asking = scope.start(kept.get("k", source), name="ask")
        await wait_until(lambda: source.loads == 1)
        kept.drop_if(lambda key: key == "k")
        source.gate.set()
        assert await asking == 1
        assert await kept.get("k", source) == 2
