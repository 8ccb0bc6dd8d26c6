"""The settings of a service that keeps state in PostgreSQL."""

from dataclasses import dataclass

from shared.config import parsers
from shared.config.environment import setting
from shared.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresConfig:
    """Where the service's own schema is, and the limits within which it is used."""

    url: Secret = setting(
        "POSTGRES_URL",
        "The database as this service's own user, whose search_path is the service's schema",
        example="postgresql://billing:<password>@127.0.0.1:5432/openroute",
        parse=parsers.postgres_url,
    )
    pool_max: int = setting(
        "POSTGRES_POOL_MAX",
        "Connections that one process may hold at most",
        example="8",
        default=8,
        parse=parsers.whole_number(1, 200),
    )
    statement_timeout_seconds: int = setting(
        "POSTGRES_STATEMENT_TIMEOUT_SECONDS",
        "How long one statement may run before the server ends it",
        example="5",
        default=5,
        parse=parsers.whole_number(1, 300),
    )
    connect_timeout_seconds: int = setting(
        "POSTGRES_CONNECT_TIMEOUT_SECONDS",
        "How long to wait for a connection, a new one or one from the pool",
        example="5",
        default=5,
        parse=parsers.whole_number(1, 60),
    )
    start_wait_seconds: int = setting(
        "POSTGRES_START_WAIT_SECONDS",
        "How long a starting process waits for the server to answer",
        example="30",
        default=30,
        parse=parsers.whole_number(1, 600),
    )
