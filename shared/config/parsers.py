"""From the text of an environment variable to a value.

Every parser raises ValueError with what the value must be, worded to follow the variable's name;
none quotes the text, which may be a secret.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from math import isfinite
from pathlib import Path
from urllib.parse import urlsplit

from shared.secret import Secret

_PORT_MAX = 65535
_LOG_LEVELS = ("debug", "info", "warning", "error")


def text(value: str) -> str:
    """The text as it is."""
    return value


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """A parser of whole numbers between two bounds, both allowed."""

    def parse(value: str) -> int:
        message = f"must be a whole number between {minimum} and {maximum}"
        try:
            number = int(value)
        except ValueError:
            raise ValueError(message) from None
        if not minimum <= number <= maximum:
            raise ValueError(message)
        return number

    return parse


integer = whole_number(-(2**63), 2**63 - 1)
positive_int = whole_number(1, 2**31 - 1)
port = whole_number(0, _PORT_MAX)
"""A TCP port to listen on; 0 takes any free one."""


def boolean(value: str) -> bool:
    """`true` or `false`, in any case."""
    match value.lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise ValueError("must be true or false")


def decimal(value: str) -> Decimal:
    """A finite decimal number."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError("must be a decimal number") from None
    if not number.is_finite():
        raise ValueError("must be a finite decimal number")
    return number


def decimal_between(minimum: Decimal, maximum: Decimal) -> Callable[[str], Decimal]:
    """A parser of decimal numbers between two bounds, both allowed."""

    def parse(value: str) -> Decimal:
        number = decimal(value)
        if not minimum <= number <= maximum:
            raise ValueError(f"must be between {minimum} and {maximum}")
        return number

    return parse


def positive_seconds(value: str) -> float:
    """A duration in seconds, above zero; parts of a second may be given."""
    try:
        seconds = float(value)
    except ValueError:
        raise ValueError("must be a number of seconds") from None
    if not isfinite(seconds) or seconds <= 0:
        raise ValueError("must be a number of seconds above zero")
    return seconds


def path(value: str) -> Path:
    """A path of the file system; whether something is there is seen when it is opened."""
    return Path(value)


def secret(value: str) -> Secret:
    """A secret text."""
    return Secret(value)


def host_port(value: str) -> str:
    """One `host:port`; an IPv6 address stands in brackets."""
    host, colon, port_text = value.rpartition(":")
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or bare_ipv6 or any(c.isspace() or c in "/@" for c in host):
        raise ValueError("must be host:port")
    if not port_text.isascii() or not port_text.isdigit() or not 0 < int(port_text) <= _PORT_MAX:
        raise ValueError("must be host:port with a port between 1 and 65535")
    return f"{host}:{int(port_text)}"


def host_port_list(value: str) -> tuple[str, ...]:
    """One or more `host:port`, separated by commas."""
    parts = [part.strip() for part in value.split(",")]
    try:
        return tuple(host_port(part) for part in parts)
    except ValueError as error:
        raise ValueError(f"{error}, several separated by commas") from None


def url(value: str) -> str:
    """An absolute http or https address without user, query or fragment; no slash at its end."""
    message = "must be an address like https://host:port/path without user, query or fragment"
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(message) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(message)
    if "@" in parts.netloc or "?" in value or "#" in value or any(c.isspace() for c in value):
        raise ValueError(message)
    return value.rstrip("/")


def postgres_url(value: str) -> Secret:
    """`postgresql://user:password@host:port/database`, kept as a secret."""
    message = "must be like postgresql://user:password@host:5432/database"
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(message) from None
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise ValueError(message)
    return Secret(value)


def log_level(value: str) -> str:
    """`debug`, `info`, `warning` or `error`, in any case."""
    level = value.lower()
    if level not in _LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(_LOG_LEVELS)}")
    return level
