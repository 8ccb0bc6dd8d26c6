"""Limits of time for what happens often: exact to a twentieth of a second, and cheap.

`asyncio.timeout` arms and disarms a timer of the event loop each time, which costs the request path
more than many a thing that it guards. Here all limits of a loop that end in the same twentieth of a
second share one timer; those of more than LONG_SECONDS, in the same second. A limit is never early,
and late by no more than that.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self
from weakref import WeakKeyDictionary

TICK_SECONDS: Final = 0.05
LONG_SECONDS: Final = 10.0
_LONG_TICK_SECONDS: Final = 1.0


class Alarm:
    """Calls back once its time has come, unless it is cancelled before."""

    __slots__ = ("_callback", "_slot")

    def __init__(self, seconds: float, callback: Callable[[], object]) -> None:
        """Set it, within a running loop; `callback` must not raise."""
        self._callback = callback
        self._slot = _slot_in(seconds, asyncio.get_running_loop())
        self._slot.add(self)

    def cancel(self) -> None:
        """It will not ring; may be called at any time."""
        self._slot.discard(self)

    def ring(self) -> None:
        """Call back."""
        self._callback()


class _Rings(Protocol):
    def ring(self) -> object: ...


_Slot = set[_Rings]
_Slots = dict[float, _Slot]
"""By the time on their loop's clock at which they ring."""


_all_slots: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Slots]] = WeakKeyDictionary()
_last: tuple[asyncio.AbstractEventLoop | None, _Slots] = (None, {})
"""The loop whose slots were last looked for, with them: but in tests a process has one loop."""


def _slot_in(seconds: float, loop: asyncio.AbstractEventLoop) -> _Slot:
    """What rings so many seconds from now."""
    global _last  # noqa: PLW0603 - a memory of one, looked into four times a request
    last, slots = _last
    if last is not loop:
        slots = _all_slots.setdefault(loop, {})
        _last = loop, slots
    step = _LONG_TICK_SECONDS if seconds > LONG_SECONDS else TICK_SECONDS
    ring_at = (int((loop.time() + seconds) / step) + 1) * step
    slot = slots.get(ring_at)
    if slot is None:
        slot = slots[ring_at] = set()
        loop.call_at(ring_at, _ring, slots, ring_at)
    return slot


def _ring(slots: _Slots, ring_at: float) -> None:
    slot = slots.pop(ring_at)
    while slot:
        slot.pop().ring()


class TimeLimit:
    """`with TimeLimit(seconds) as limit:` does what `async with asyncio.timeout(seconds)` does.

    What the block awaits is cancelled when the limit has passed, and the block raises TimeoutError.
    A cancellation from outside stays one.
    """

    __slots__ = ("_cancelling", "_has_passed", "_seconds", "_slot", "_task")

    def __init__(self, seconds: float) -> None:
        """Nothing runs before the block is entered."""
        self._seconds = seconds
        self._has_passed = False
        self._slot: _Slot | None = None

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a time limit stands in a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._slot = _slot_in(self._seconds, loop)
        self._slot.add(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None
        if (
            self._has_passed
            and self._task.uncancel() <= self._cancelling
            and exc_type is asyncio.CancelledError
        ):
            raise TimeoutError from exc

    @property
    def has_passed(self) -> bool:
        """Whether the limit ended the block, or will at its next await."""
        return self._has_passed

    def pass_now(self) -> None:
        """Bring the end forward to now, from another task; after the block this does nothing."""
        if self._slot is not None and not self._has_passed:
            self._has_passed = True
            self._task.cancel()

    def ring(self) -> None:
        """The time has come: what alarms and limits have in common."""
        self.pass_now()
