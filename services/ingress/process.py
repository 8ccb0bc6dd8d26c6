"""The life of an ingress process: read, serve, drain, end."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from services.ingress.config import HttpConfig
from services.ingress.use_cases.waiting import WaitingGenerations
from shared.errors import OpenRouteError, Unavailable
from shared.http.server import Unreadable, serve
from shared.kafka.readers import Source, read_together
from shared.tasks import TaskScope

_START_SECONDS_MAX: Final = 60.0
_JUDGE_SECONDS: Final = 0.25
_FLUSH_SECONDS: Final = 5.0


class Superseded(OpenRouteError):  # noqa: N818 - it says what happened
    """A process that started later has our ordinal; this one ends."""


@dataclass(slots=True, kw_only=True)
class Ingress:
    """An ingress process whose connections are open. `port` is known while it serves."""

    app: web.Application
    unreadable: Unreadable
    http: HttpConfig
    replies: Source
    sources: Sequence[Source]
    background: Mapping[str, Callable[[], Coroutine[None, None, None]]]
    flush: Callable[[float], Awaitable[bool]]
    superseded: asyncio.Event
    waiting: WaitingGenerations
    port: int | None = None
    is_stopping: bool = False

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then drain. Raises what broke a part, or Superseded."""
        ended = asyncio.Event()
        async with TaskScope() as scope:
            scope.start(self.replies.run(ended), name="replies")
            scope.start(read_together(self.sources, ended), name="sources")
            for name, begin in self.background.items():
                scope.start(begin(), name=name)
            scope.start(self._judge(), name="judge")
            await self._until_read(scope)
            async with serve(
                self.app,
                self.http.host,
                self.http.port,
                shutdown_seconds=self.http.drain_seconds,
                unreadable=self.unreadable,
            ) as port:
                self.port = port
                await _first_of(stop, scope.failed, self.superseded)
                self.is_stopping = True
            # readers and heartbeat go on until here, for answers were still on their way
            await self.flush(_FLUSH_SECONDS)
            if scope.failure is not None:
                raise scope.failure
            if self.superseded.is_set():
                raise Superseded("a process that started later has this ordinal")

    def problem(self) -> str | None:
        """Why no request should be sent here now, or None."""
        if self.is_stopping:
            return "is stopping"
        return None if self.port is not None else "is starting"

    async def _until_read(self, scope: TaskScope) -> None:
        """Wait for the topics to be read as far as they were when we came."""

        async def all_read() -> None:
            for source in (self.replies, *self.sources):
                await source.ready.wait()

        async with TaskScope() as waiting:
            tasks = [
                waiting.start(all_read(), name="all read"),
                waiting.start(scope.failed.wait(), name="failed"),
            ]
            await asyncio.wait(
                tasks, timeout=_START_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
            )
            if scope.failure is not None:
                raise scope.failure
            if not tasks[0].done():
                raise Unavailable("kafka", "topics were not read in time")

    async def _judge(self) -> None:
        while True:
            self.waiting.judge()
            await asyncio.sleep(_JUDGE_SECONDS)


async def _first_of(*events: asyncio.Event) -> None:
    async with TaskScope() as scope:
        tasks = [scope.start(event.wait(), name="waiting") for event in events]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
