"""A bounded cache whose missing values are loaded once, however many ask at the same time."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from shared.clock import Clock
from shared.tasks import TaskScope

K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S")


class SingleFlightCache(Generic[K, S, V]):
    """Keeps values for a while. A load that fails is told to all who wait for it and not kept.

    Loads run in `scope`, so that the one who asked first may be cancelled without the others.
    """

    def __init__(
        self,
        load: Callable[[S], Awaitable[V]],
        *,
        seconds_max: float,
        entries_max: int,
        clock: Clock,
        scope: TaskScope,
    ) -> None:
        """`load` makes a value from its source. Past `entries_max` the entries longest unused go."""
        self._load = load
        self._seconds_max = seconds_max
        self._entries_max = entries_max
        self._clock = clock
        self._scope = scope
        self._values: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._loading: dict[K, asyncio.Future[V]] = {}

    async def get(self, key: K, source: S) -> V:
        """The value of a key, loaded from its source when it is not known or too old."""
        known = self._values.get(key)
        if known is not None:
            if self._clock.monotonic() < known[1]:
                self._values.move_to_end(key)
                return known[0]
            del self._values[key]
        loading = self._loading.get(key)
        if loading is None:
            loading = asyncio.get_running_loop().create_future()
            self._loading[key] = loading
            self._scope.start(self._bring(key, source, loading), name="load for a cache")
        return await asyncio.shield(loading)

    def drop_if(self, unwanted: Callable[[K], bool]) -> None:
        """Forget entries at once; what is just being loaded is not kept either."""
        for key in [key for key in self._values if unwanted(key)]:
            del self._values[key]
        for key in [key for key in self._loading if unwanted(key)]:
            del self._loading[key]

    def __len__(self) -> int:
        return len(self._values)

    async def _bring(self, key: K, source: S, loading: "asyncio.Future[V]") -> None:
        try:
            value = await self._load(source)
        except asyncio.CancelledError:
            loading.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - told to all who wait
            loading.set_exception(error)
            loading.exception()  # looked at, in case all who waited have been cancelled
        else:
            loading.set_result(value)
            if self._loading.get(key) is loading:
                self._values[key] = (value, self._clock.monotonic() + self._seconds_max)
                if len(self._values) > self._entries_max:
                    self._values.popitem(last=False)
        finally:
            if self._loading.get(key) is loading:
                del self._loading[key]
