"""One HTTP exchange: the request, what its log line says, and how it is answered."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http.error_envelope import error_body, rate_limit_headers
from services.ingress.inbound.http.measurements import HttpMeasurements
from shared.clock import Clock
from shared.errors import Unavailable
from shared.telemetry.logging import Journal, Line, get_logger, unit_of_work

CLIENT_LEFT: Final = 499
_FAILED_FROM: Final = 500
_REFUSED_FROM: Final = 400
_JSON: Final = "application/json"
_UNAVAILABLE: Final = refusals.unavailable("temporarily unavailable; please try again")

Handler = Callable[["Exchange"], Awaitable[web.StreamResponse]]


class Exchange:
    """What a handler works with. `headers` go out with every answer, refusals too."""

    __slots__ = ("headers", "line", "request")

    def __init__(self, request: web.Request, line: Line) -> None:
        """Nothing is decided yet."""
        self.request = request
        self.line = line
        self.headers: dict[str, str] = {}

    def authorization(self) -> str | None:
        """The Authorization header."""
        return self.request.headers.get("Authorization")

    def json(self, body: Any, *, status: int = 200) -> web.Response:
        """Answer with a value."""
        return self.raw(msgspec.json.encode(body), status=status)

    def raw(self, body: bytes, *, status: int = 200) -> web.Response:
        """Answer with JSON that is encoded already."""
        return web.Response(
            body=body, status=status, headers=self.headers or None, content_type=_JSON
        )

    def document(self, body: bytes, content_type: str) -> web.Response:
        """Answer with text of another kind, in UTF-8."""
        return web.Response(
            body=body,
            headers=self.headers or None,
            content_type=content_type,
            charset="utf-8",
        )

    def refuse(self, refusal: Refusal, *, metadata: msgspec.Raw | None = None) -> web.Response:
        """Answer with the error envelope."""
        if refusal.retry_after_seconds is not None:
            self.headers["Retry-After"] = str(refusal.retry_after_seconds)
        self.headers.update(rate_limit_headers(refusal))
        self.line.add(error_type=refusal.error_type)
        response = self.raw(
            error_body(refusal, openrouter_metadata=metadata), status=refusal.status
        )
        if refusal.closes_connection:
            response.force_close()
        return response


class Endpoints:
    """Turns handlers into what aiohttp calls: one log line, one count, no error unanswered."""

    def __init__(
        self, *, measurements: HttpMeasurements, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        """`new_id` names requests whose failure is a bug, for the log."""
        self._measurements = measurements
        self._clock = clock
        self._new_id = new_id
        self._journal = Journal("http")
        self._logger = get_logger("http")

    def endpoint(
        self, route: str, handle: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler of a route; `route` is its name in logs and metrics."""

        async def answer(request: web.Request) -> web.StreamResponse:
            status = CLIENT_LEFT
            try:
                with unit_of_work(self._journal, "request", self._clock, route=route) as line:
                    exchange = Exchange(request, line)
                    try:
                        response = await handle(exchange)
                    except Unavailable as error:
                        line.add(reason=str(error))
                        response = exchange.refuse(_UNAVAILABLE)
                    except Exception as error:  # noqa: BLE001 - a bug of ours in one request
                        response = self._broken(exchange, error)
                    status = line.fields.setdefault("status", response.status)
                    line.outcome = line.outcome or _outcome_of(status)
                    return response
            finally:
                self._measurements.answered(route, status)

        return answer

    def _broken(self, exchange: Exchange, error: Exception) -> web.Response:
        """A bug: its line in the log is found by what the client is told."""
        request_id = self._new_id()
        self._logger.error("a request failed", request_id=request_id, exc_info=error)
        exchange.line.add(request_id=request_id)
        exchange.headers["X-Request-Id"] = request_id
        return exchange.refuse(refusals.internal())


def _outcome_of(status: int) -> Any:
    if status >= _FAILED_FROM:
        return "failed"
    return "refused" if status >= _REFUSED_FROM else "ok"
