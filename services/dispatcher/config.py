"""The dispatcher's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from shared.config import parsers
from shared.config.environment import setting
from shared.config.process import ProcessConfig
from shared.kafka.config import KafkaConfig
from shared.vault.config import VaultConfig

_MIB: Final = 1024 * 1024
_ENDPOINTS_MESSAGE: Final = (
    "must be a JSON object of provider slugs with their base URLs, or a file that holds one"
)


def provider_endpoints(value: str) -> tuple[tuple[str, str], ...]:
    """A JSON object, or the path of a file with one: provider slug to base URL."""
    try:
        text = value if value.startswith("{") else Path(value).read_text("utf-8")
        found = msgspec.json.decode(text, type=dict[str, str])
    except (OSError, ValueError, msgspec.MsgspecError):
        raise ValueError(_ENDPOINTS_MESSAGE) from None
    try:
        return tuple((slug, parsers.url(address)) for slug, address in found.items())
    except ValueError as error:
        raise ValueError(f"{_ENDPOINTS_MESSAGE}; each URL {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvidersConfig:
    """Where providers are reached."""

    endpoints: tuple[tuple[str, str], ...] = setting(
        "PROVIDER_ENDPOINTS",
        "Other base URLs for providers, as JSON or a file's path; their adapters append the usual "
        "paths. That of azure stands for the host of every whole resource, not for deployments, "
        "which bring their own address; that of google-vertex for the hosts of all regions, and "
        "google-oauth is where its access tokens come from",
        example='{"openai": "http://127.0.0.1:9300/v1"}',
        default=(),
        parse=provider_endpoints,
    )
    egress_allow: tuple[str, ...] = setting(
        "EGRESS_ALLOW",
        "host:port pairs, comma-separated, that may be called over http or at private addresses, "
        "by base URLs and by addresses inside credentials",
        example="127.0.0.1:9300",
        default=(),
        parse=parsers.host_port_list,
    )
    first_token_seconds_max: float = setting(
        "FIRST_TOKEN_TIMEOUT_SECONDS",
        "How long a streaming provider may take to its first token before the next attempt",
        example="60",
        default=60.0,
    )
    whole_answer_seconds_max: float = setting(
        "WHOLE_ANSWER_TIMEOUT_SECONDS",
        "How long a provider may take to an answer that is not streamed before the next attempt",
        example="300",
        default=300.0,
    )

    @property
    def endpoint_of(self) -> Mapping[str, str]:
        """Base URLs by provider slug."""
        return MappingProxyType(dict(self.endpoints))


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherConfig:
    """Everything that a dispatcher process reads from its environment."""

    process: ProcessConfig
    kafka: KafkaConfig
    vault: VaultConfig
    providers: ProvidersConfig
    in_flight_max: int = setting(
        "IN_FLIGHT_MAX",
        "Generations that one dispatcher carries out at the same time; more wait in Kafka",
        example="1024",
        default=1_024,
        parse=parsers.positive_int,
    )
    in_flight_bytes_max: int = setting(
        "IN_FLIGHT_BYTES_MAX",
        "Bytes of the requests that one dispatcher holds at the same time",
        example="268435456",
        default=256 * _MIB,
        parse=parsers.positive_int,
    )
    drain_seconds: float = setting(
        "DRAIN_SECONDS",
        "How long a stopping dispatcher lets its generations go on before it ends them",
        example="30",
        default=30.0,
    )
