"""Which of PostgreSQL's errors mean "not now" rather than a bug."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from shared.errors import Unavailable

DEPENDENCY = "postgres"

_NOT_NOW = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.QueryCanceledError,  # statement_timeout
    asyncpg.LockNotAvailableError,  # lock_timeout
    asyncpg.ReadOnlySQLTransactionError,  # a failover left us at a standby
    OSError,  # refused, reset; TimeoutError is one
)
# asyncpg says with one class both "you used me wrongly" and "the connection went away".
_GONE = (
    "connection is closed",
    "connection was closed",
    "connection has been released",
    "pool is clos",
)


# A server that shuts down at once tells every connection, in the middle of nothing; asyncpg then waits
# for the end of a conversation that never began, and calls what is asked next a fault of its own.
_GOING = "cannot switch to state"


@contextmanager
def translate() -> Iterator[None]:
    """Raise Unavailable("postgres") for lost connections, timeouts and shutdowns in the block.

    After a lost connection a COMMIT may have taken effect: what is retried must be idempotent.
    Serialization failures and deadlocks pass: `in_transaction` retries those.
    """
    try:
        yield
    except _NOT_NOW as error:
        raise Unavailable(DEPENDENCY, type(error).__name__) from error
    except asyncpg.InterfaceError as error:
        if any(phrase in str(error) for phrase in _GONE):
            raise Unavailable(DEPENDENCY, "connection lost") from error
        raise
    except asyncpg.InternalClientError as error:
        if _GOING in str(error):
            raise Unavailable(DEPENDENCY, "connection lost") from error
        raise
