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
# What is asked after that, such as a rollback, it calls a fault of ours.
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
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if any(phrase in str(error) for phrase in _GONE) or _is_going(error):
            raise Unavailable(DEPENDENCY, "connection lost") from error
        raise


def _is_going(error: BaseException | None) -> bool:
    """Whether it began with a server that was going; each error has the one before as its context."""
    while error is not None:
        if isinstance(error, asyncpg.InternalClientError) and _GOING in str(error):
            return True
        error = error.__context__
    return False
