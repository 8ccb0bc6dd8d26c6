"""What a supervisor, a load balancer and Prometheus ask of a process.

GET /healthz   200 while the event loop answers
GET /readyz    200 {"ready":true}, or 503 {"ready":false,"reasons":{check: why not}}
GET /metrics   Prometheus' text format
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import msgspec
from aiohttp import web

from shared.tasks import TaskScope
from shared.telemetry.metrics import CONTENT_TYPE, Metrics

Check: TypeAlias = Callable[[], str | None]
"""Says why the process is not ready, or None; answers at once, from what is known already."""


class Readiness:
    """The named checks that must all pass before work is sent to this process."""

    def __init__(self) -> None:
        """Without a check the process is ready."""
        self._checks: dict[str, Check] = {}

    def register(self, name: str, check: Check) -> None:
        """Add a check; ValueError when the name is taken."""
        if name in self._checks:
            raise ValueError(f"a check named {name} is registered already")
        self._checks[name] = check

    def reasons(self) -> dict[str, str]:
        """Every failing check with its reason; empty when ready."""
        asked = {name: _ask(check) for name, check in self._checks.items()}
        return {name: reason for name, reason in asked.items() if reason is not None}


def health_app(readiness: Readiness, metrics: Metrics) -> web.Application:
    """The application to serve on HEALTH_HOST and HEALTH_PORT; it also samples the loop's lag."""

    async def healthz(_request: web.Request) -> web.Response:
        return _json({"alive": True}, 200)

    async def readyz(_request: web.Request) -> web.Response:
        reasons = readiness.reasons()
        if reasons:
            return _json({"ready": False, "reasons": reasons}, 503)
        return _json({"ready": True}, 200)

    async def exposition(_request: web.Request) -> web.Response:
        body = await asyncio.to_thread(metrics.render)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def sampling(_app: web.Application) -> AsyncIterator[None]:
        async with TaskScope() as scope:
            _ = scope.start(metrics.watch_event_loop(), name="event loop lag")
            yield

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", exposition)
    app.cleanup_ctx.append(sampling)
    return app


def _ask(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a broken check means not ready, whatever broke it
        return f"the check failed: {type(error).__name__}"


def _json(body: object, status: int) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )
