"""Logs: one JSON object a line on stdout, and one canonical line for every unit of work.

Fields of every line: `timestamp` (RFC 3339, UTC), `level`, `service`, `instance`, `logger`,
`event`. Exceptions come as `exception`, a list of frames without their local variables.
"""

import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, TypeAlias, cast

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import FilteringBoundLogger
from typing_extensions import override

from shared.clock import Clock
from shared.errors import OpenRouteError
from shared.telemetry.redact import redact_fields

Logger: TypeAlias = FilteringBoundLogger
Outcome: TypeAlias = Literal["ok", "refused", "failed", "cancelled"]

_FRAMES_MAX: Final = 20
_LEVELS: Final = {"warn": "warning", "exception": "error", "fatal": "critical"}
"""What structlog's methods are called where that is not their level's name."""
_encoder: Final = msgspec.json.Encoder()
_NOISY: Final = ("aiokafka", "aiohttp", "asyncio", "hvac", "urllib3")


def configure_logging(
    service: str, instance: str, level: str, *, stream: BinaryIO | None = None
) -> None:
    """Set up the process's logs: call once, before anything logs.

    `level` is debug, info, warning or error. Libraries that use the standard logging come through
    here too, from WARNING on. `stream` takes the place of stdout in tests.
    """
    minimum = logging.getLevelNamesMapping()[level.upper()]
    output = stream or sys.stdout.buffer
    form = _Form(service, instance)
    _sink.point_to(output, form, minimum)
    structlog.configure(
        processors=[
            structlog.processors.ExceptionRenderer(
                ExceptionDictTransformer(show_locals=False, use_rich=False, max_frames=_FRAMES_MAX)
            ),
            form.processor,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=structlog.BytesLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()  # noqa: TID251 - the libraries' loggers are routed from here
    root.handlers[:] = [_Router()]
    root.setLevel(max(minimum, logging.WARNING))
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(minimum, logging.WARNING))  # noqa: TID251 - the same


def forget_logging() -> None:
    """Undo `configure_logging`: where tests run programs, the output they were given has an end."""
    structlog.reset_defaults()
    _sink.point_to(None, _Form("", ""), logging.INFO)


def get_logger(name: str) -> Logger:
    """A logger whose lines carry `name` as `logger`. Cheap; make one for a module or a part."""
    return cast("Logger", structlog.get_logger(_logger_name=name))


class Journal:
    """Writes canonical lines under a logger's name, in the form of all lines.

    Every unit of work writes one, so they go past structlog's chain of calls, which costs a request
    more than the line itself.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        """Nothing is written before logs are configured."""
        self._name = name

    def info(self, event: str, fields: dict[str, Any]) -> None:
        """Write a line; `fields` are the journal's from here on."""
        _sink.write("info", logging.INFO, self._name, event, fields)

    def error(self, event: str, fields: dict[str, Any]) -> None:
        """Write a line about what failed."""
        _sink.write("error", logging.ERROR, self._name, event, fields)


class Line:
    """The canonical line of a unit of work while it is being gathered."""

    __slots__ = ("fields", "outcome")

    def __init__(self, fields: dict[str, Any]) -> None:
        """Begin with the fields that are known."""
        self.fields = fields
        self.outcome: Outcome | None = None

    def add(self, **fields: Any) -> None:
        """Set fields of the line; a later value replaces an earlier one."""
        self.fields.update(fields)


class unit_of_work:  # noqa: N801 - reads as the verb it is: with unit_of_work(...) as line
    """Write exactly one line when the block ends, whatever way it ends.

    The line's event is `name`; it carries `duration_ms` and `outcome`: what the block set, else
    `ok`, else, when an exception leaves the block, `cancelled` or `failed` with the error's class in
    `error`. The exception goes on. The block may await: nothing is kept outside the line.
    """

    __slots__ = ("_clock", "_journal", "_line", "_name", "_started")

    def __init__(self, journal: Journal, name: str, clock: Clock, **fields: Any) -> None:
        """Nothing is written before the block ends."""
        self._journal = journal
        self._name = name
        self._clock = clock
        self._line = Line(fields)
        self._started = 0.0

    def __enter__(self) -> Line:
        self._started = self._clock.monotonic()
        return self._line

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        line = self._line
        fields = line.fields
        duration_seconds = self._clock.monotonic() - self._started
        fields["duration_ms"] = round(duration_seconds * 1000, 3)
        if exc_type is None:
            fields["outcome"] = line.outcome or "ok"
            self._journal.info(self._name, fields)
            return
        fields["error"] = exc_type.__name__
        if not issubclass(exc_type, Exception):  # CancelledError and the process's own end
            fields["outcome"] = line.outcome or "cancelled"
            self._journal.info(self._name, fields)
            return
        fields["outcome"] = line.outcome or "failed"
        if issubclass(exc_type, OpenRouteError):  # their texts are ours and hold no content
            fields["reason"] = str(exc)
        self._journal.error(self._name, fields)


class _Form:
    """From the fields of a line to its bytes."""

    def __init__(self, service: str, instance: str) -> None:
        self._service = service
        self._instance = instance

    def processor(self, _logger: object, method: str, fields: MutableMapping[str, Any]) -> bytes:
        """The last of structlog's processors, one in place of its five."""
        logger = fields.pop("_logger_name", None)  # structlog keeps `logger` for itself
        return self.encode(_LEVELS.get(method, method), logger, fields)

    def encode(self, level: str, logger: str | None, fields: MutableMapping[str, Any]) -> bytes:
        """The line without its end."""
        line = {
            "timestamp": datetime.now(UTC),  # noqa: TID251 - when a line is written is no rule's business
            "level": level,
            "service": self._service,
            "instance": self._instance,
            "logger": logger,
            **redact_fields(fields),
        }
        try:
            return _encoder.encode(line)
        except UnicodeEncodeError:
            # A lone surrogate, as hostile input may hold, is no UTF-8: it must not cost the line.
            text = repr(line).encode("utf-8", "backslashreplace").decode()
            return _encoder.encode({"event": "unencodable log line", "line": text})


class _Sink:
    """Where journals write."""

    def __init__(self) -> None:
        self._output: BinaryIO | None = None
        self._form = _Form("", "")
        self._minimum = logging.INFO

    def point_to(self, output: BinaryIO | None, form: _Form, minimum: int) -> None:
        self._output, self._form, self._minimum = output, form, minimum

    def write(self, level: str, rank: int, name: str, event: str, fields: dict[str, Any]) -> None:
        output = self._output
        if output is None or rank < self._minimum:
            return
        fields["event"] = event
        output.write(self._form.encode(level, name, fields) + b"\n")
        output.flush()


_sink = _Sink()


class _Router(logging.Handler):
    """Takes what libraries log into the same stream and form."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            structlog.get_logger(_logger_name=record.name).log(
                record.levelno, record.getMessage(), exc_info=record.exc_info or None
            )
        except Exception:  # noqa: BLE001 - a library's broken log call must not break its caller
            self.handleError(record)
