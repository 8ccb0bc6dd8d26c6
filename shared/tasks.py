"""Background work whose end somebody waits for."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self


class TaskScope:
    """Tasks that live as long as a part of the process does.

    A task that fails is remembered: `failure` is set, so that the process can end with it. Leaving
    the scope cancels what still runs and waits for it. Differs from TaskGroup in that a failing
    child does not cancel the code inside the `async with` body; the owner decides.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work` beside us; its failure is kept in `failure`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and self.failure is None:
            self.failure = error
            self.failed.set()

    async def drain(self, deadline_seconds: float) -> bool:
        """Wait for every task to end by itself; False when some did not in time."""
        if not self._tasks:
            return True
        _, pending = await asyncio.wait(self._tasks, timeout=deadline_seconds)
        return not pending

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
