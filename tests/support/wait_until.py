"""Waiting for a condition with a deadline, in place of sleeping and hoping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Final

_POLL_SECONDS: Final = 0.02


async def wait_until(
    condition: Callable[[], bool | Awaitable[bool]],
    *,
    deadline_seconds: float = 10.0,
    otherwise: Callable[[], str] | str = "the condition did not come true",
) -> None:
    """Return as soon as `condition` holds; fail with `otherwise` at the deadline."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_seconds
    while True:
        held = condition()
        if inspect.isawaitable(held):
            held = await held
        if held:
            return
        if loop.time() > end:
            why = otherwise if isinstance(otherwise, str) else otherwise()
            raise AssertionError(f"after {deadline_seconds} s: {why}")
        await asyncio.sleep(_POLL_SECONDS)
