"""Ingress' settings."""

from dataclasses import dataclass
from typing import Final

from services.ingress.domain.client_address import Networks, networks
from services.ingress.domain.stripe_signature import webhook_secrets
from shared.config import parsers
from shared.config.environment import setting
from shared.config.process import ProcessConfig
from shared.kafka.config import KafkaConfig
from shared.postgres.config import PostgresConfig
from shared.secret import Secret
from shared.vault.config import VaultConfig

_MIB: Final = 1024 * 1024
OPERATOR_TOKEN_CHARACTERS_MIN: Final = 32
_OPERATOR_TOKEN_CHARACTERS_MAX: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """Where the API listens, and its limits."""

    host: str = setting(
        "HTTP_HOST",
        "The address on which the API listens",
        example="127.0.0.1",
        default="127.0.0.1",
    )
    port: int = setting(
        "HTTP_PORT",
        "The port on which the API listens; 0 takes any free one",
        example="8080",
        parse=parsers.port,
    )
    body_seconds_max: float = setting(
        "HTTP_BODY_SECONDS_MAX",
        "How long a client may take to send a request's body",
        example="60",
        default=60.0,
        parse=parsers.positive_seconds,
    )
    held_body_bytes_max: int = setting(
        "HTTP_HELD_BODY_BYTES_MAX",
        "Bytes of large request bodies that are held in memory at the same time",
        example=str(256 * _MIB),
        default=256 * _MIB,
        parse=parsers.whole_number(21 * _MIB, 2**40),
    )
    sse_headers_after_seconds: float = setting(
        "SSE_HEADERS_AFTER_SECONDS",
        "How long a stream's headers wait for its first token, so that an error before it is a real "
        "HTTP status; then they go, and comments keep the connection alive",
        example="10",
        default=10.0,
        parse=parsers.positive_seconds,
    )
    sse_keep_alive: bool = setting(
        "SSE_KEEP_ALIVE",
        "Whether streams send comments while they wait; false for clients that cannot read them",
        example="true",
        default=True,
    )
    trusted_proxies: Networks = setting(
        "TRUSTED_PROXIES",
        "Addresses or networks of proxies whose X-Forwarded-For is believed, comma-separated: the "
        "audit then has the client's address instead of theirs",
        example="10.0.0.0/8",
        default=(),
        parse=networks,
    )
    drain_seconds: float = setting(
        "HTTP_DRAIN_SECONDS",
        "How long running answers may go on after the process was asked to stop",
        example="30",
        default=30.0,
        parse=parsers.positive_seconds,
    )


def _operator_token(value: str) -> Secret:
    if not OPERATOR_TOKEN_CHARACTERS_MIN <= len(value) <= _OPERATOR_TOKEN_CHARACTERS_MAX or not all(
        "!" <= character <= "~" for character in value
    ):
        raise ValueError(
            f"must be {OPERATOR_TOKEN_CHARACTERS_MIN} to {_OPERATOR_TOKEN_CHARACTERS_MAX} "
            "characters of printable ASCII without spaces"
        )
    return Secret(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditsConfig:
    """Who may move credits over HTTP."""

    operator_token: Secret | None = setting(
        "OPERATOR_TOKEN",
        "What operators show to move credits over HTTP, 32 characters at least; without it that API "
        "does not exist",
        example="what `openssl rand -hex 32` prints",
        parse=_operator_token,
        refuses_empty=True,
    )
    stripe_webhook_secrets: tuple[Secret, ...] = setting(
        "STRIPE_WEBHOOK_SECRET",
        "The signing secret of this installation's endpoint at Stripe, or two separated by a comma "
        "while one replaces the other; without it /api/v1/webhooks/stripe does not exist",
        example="whsec_...",
        default=(),
        parse=webhook_secrets,
        secret=True,
        refuses_empty=True,
    )
    stripe_live_mode: bool = setting(
        "STRIPE_LIVE_MODE",
        "Whether Stripe's payments are real; false books only those of its test mode",
        example="false",
        default=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressConfig:
    """Everything that an ingress process reads from its environment."""

    process: ProcessConfig
    http: HttpConfig
    kafka: KafkaConfig
    postgres: PostgresConfig
    vault: VaultConfig
    credits: CreditsConfig
    generation_seconds_max: float = setting(
        "GENERATION_SECONDS_MAX",
        "How long a completion may take from request to last token",
        example="600",
        default=600.0,
        parse=parsers.positive_seconds,
    )
    account_in_flight_max: int = setting(
        "ACCOUNT_IN_FLIGHT_MAX",
        "Completions of one account that one process runs at the same time; more are told 429",
        example="500",
        default=500,
        parse=parsers.positive_int,
    )
    process_in_flight_max: int = setting(
        "PROCESS_IN_FLIGHT_MAX",
        "Completions that one process runs at the same time; more are told 503",
        example="2000",
        default=2000,
        parse=parsers.positive_int,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsConfig:
    """What the operators' command line reads: the same servers, as the same service."""

    kafka: KafkaConfig
    postgres: PostgresConfig
    vault: VaultConfig
