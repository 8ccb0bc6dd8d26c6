"""What `status` tells of each process."""

import time
from dataclasses import dataclass

from deploy.local.component import Component
from deploy.local.processes import Running


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One process that should run."""

    name: str
    pid: int | None
    port: int
    ready: bool
    rss_bytes: int
    uptime_seconds: float


def line_of(component: Component, running: Running | None) -> Line:
    """Look at a process and ask it whether it is ready."""
    if running is None:
        return Line(
            name=component.name,
            pid=None,
            port=component.port,
            ready=False,
            rss_bytes=0,
            uptime_seconds=0.0,
        )
    return Line(
        name=component.name,
        pid=running.pid,
        port=component.port,
        ready=component.ready(),
        rss_bytes=running.rss_bytes,
        uptime_seconds=time.time() - running.started_at,  # noqa: TID251  # the system's own clock counted the start
    )
