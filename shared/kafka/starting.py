"""Starting a client of Kafka, which must not be broken off in the middle."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

_CANCELLED_START_SECONDS_MAX: Final = 1.0


async def start_whole(starting: Coroutine[Any, Any, None]) -> None:
    """Start a client; whoever cancels that waits a moment until it has started.

    Cancelled in the middle, aiokafka never closes the connection that it asks for metadata with.
    """
    task = asyncio.get_running_loop().create_task(starting, name="start a Kafka client")
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_CANCELLED_START_SECONDS_MAX)
        if not task.cancel() and not task.cancelled():
            task.exception()  # looked at: the cancellation is what matters now
        raise
