"""The pool of connections, and transactions that are tried again where PostgreSQL says so.

What columns come as: `uuid` str (and go in as str), `json` and `jsonb` plain Python values (and go
in as anything that msgspec can encode), `numeric` Decimal, `timestamptz` aware UTC datetimes,
`bytea` bytes.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
import msgspec
from typing_extensions import override

from shared.errors import Unavailable
from shared.postgres.config import PostgresConfig
from shared.postgres.errors import DEPENDENCY, translate

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = (
        asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    )
    _AsyncpgConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    _AsyncpgConnection = asyncpg.Connection
    Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

T = TypeVar("T")

_CLOSE_SECONDS = 5.0
_RETRY_FIRST_SECONDS = 0.25
_RETRY_LAST_SECONDS = 2.0
_CONFLICT_PAUSE_SECONDS = 0.01
_CLIENT_MARGIN_SECONDS = 1.0  # the server ends a statement first, so that the connection survives
_IDLE_IN_TRANSACTION_SECONDS = 30
_IDLE_CONNECTION_SECONDS = 300.0
_QUERIES_A_CONNECTION = 50_000
_JSONB_VERSION = b"\x01"
# A plan that is kept may have been made for an empty table, which a scan would suit: later it would not.
_PLANS_ONCE = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}


@asynccontextmanager
async def open_pool(
    config: PostgresConfig, *, application_name: str, plans_once: bool = False
) -> AsyncIterator[Pool]:
    """A pool that lives as long as the block.

    Waits up to `start_wait_seconds` for a server that is still starting, then raises Unavailable.
    Every acquisition, connection and statement has a deadline. At the end connections in use get
    five seconds to come back. With `plans_once` a connection plans each statement once, whatever its
    parameters, and by indexes: for small statements that come again and again, not for reports.
    """
    pool = await _connected_pool(config, application_name, plans_once=plans_once)
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()


async def in_transaction(
    pool: Pool, work: Callable[[Connection], Awaitable[T]], *, attempts_max: int = 5
) -> T:
    """Run `work` in one transaction and return its result once committed.

    `work` may run several times (serialization failure, deadlock), each time in a transaction of
    its own: it must keep nothing outside. Raises Unavailable after `attempts_max` conflicts, or when
    PostgreSQL does not answer; the commit may then have taken effect all the same.
    """
    for attempt in range(attempts_max):
        if attempt:
            # No jitter is needed: PostgreSQL ends one of the parties and lets the others go on.
            await asyncio.sleep(_CONFLICT_PAUSE_SECONDS * 2**attempt)
        try:
            with translate():
                async with pool.acquire() as connection, connection.transaction():
                    return await work(connection)
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
            if attempt == attempts_max - 1:
                detail = f"{attempts_max} conflicts in a row"
                raise Unavailable(DEPENDENCY, detail) from error
    raise ValueError("attempts_max must be at least 1")


class _PooledConnection(_AsyncpgConnection):
    """A connection that comes back as it went out.

    asyncpg would ask the server to forget settings, cursors and locks of the session each time, and
    the answer of whoever waits for the transaction would wait for that. Who changes a session puts it
    back (`migrate`); open transactions are ended all the same.
    """

    @override
    def get_reset_query(self) -> str:
        return ""


class _DeadlinePool(asyncpg.Pool):
    """A pool whose every acquisition has a deadline, `pool.fetch` and its like included."""

    acquire_timeout_seconds: float = 5.0

    @override
    def acquire(self, *, timeout: float | None = None) -> Any:
        return super().acquire(timeout=timeout or self.acquire_timeout_seconds)


async def _connected_pool(
    config: PostgresConfig, application_name: str, *, plans_once: bool
) -> Pool:
    pause_seconds = _RETRY_FIRST_SECONDS
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + config.start_wait_seconds
    while True:
        pool = _new_pool(config, application_name, plans_once=plans_once)
        try:
            with translate():
                _ = await pool  # connects; what it returns is the pool again
        except Unavailable:
            pool.terminate()
            if loop.time() + pause_seconds > give_up_at:
                raise
        else:
            return pool
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, _RETRY_LAST_SECONDS)


def _new_pool(config: PostgresConfig, application_name: str, *, plans_once: bool) -> Pool:
    statement_ms = str(config.statement_timeout_seconds * 1000)
    pool = _DeadlinePool(
        config.url.reveal(),
        min_size=1,
        max_size=config.pool_max,
        max_queries=_QUERIES_A_CONNECTION,
        max_inactive_connection_lifetime=_IDLE_CONNECTION_SECONDS,
        init=set_codecs,
        loop=asyncio.get_running_loop(),
        connection_class=_PooledConnection,
        record_class=asyncpg.Record,
        timeout=config.connect_timeout_seconds,
        command_timeout=config.statement_timeout_seconds + _CLIENT_MARGIN_SECONDS,
        server_settings={
            "application_name": application_name,
            "statement_timeout": statement_ms,
            "lock_timeout": statement_ms,
            "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_SECONDS * 1000),
            "TimeZone": "UTC",
            "jit": "off",  # statements here are short; compiling them costs more than it saves
            **(_PLANS_ONCE if plans_once else {}),
        },
    )
    pool.acquire_timeout_seconds = config.connect_timeout_seconds
    return pool


async def set_codecs(connection: Connection) -> None:
    """Make a connection give and take values as this module says."""
    # Binary on the wire: with text codecs COPY refuses these types.
    codecs: tuple[tuple[str, Callable[[Any], bytes], Callable[[bytes], Any]], ...] = (
        ("json", msgspec.json.encode, msgspec.json.decode),
        ("jsonb", lambda value: _JSONB_VERSION + msgspec.json.encode(value), _decode_jsonb),
        ("uuid", lambda text: uuid.UUID(str(text)).bytes, lambda raw: str(uuid.UUID(bytes=raw))),
    )
    for name, encoder, decoder in codecs:
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="binary"
        )


def _decode_jsonb(raw: bytes) -> Any:
    return msgspec.json.decode(memoryview(raw)[1:])
