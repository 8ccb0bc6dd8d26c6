"""The settings that every process has, whatever its service."""

from dataclasses import dataclass

from shared.config import parsers
from shared.config.environment import setting

_ORDINAL_MAX = 47  # the reply topics have 48 partitions, one for each ordinal


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """Who this process is among its like, and where its health can be asked."""

    instance_ordinal: int = setting(
        "INSTANCE_ORDINAL",
        "The number of this process among those of its service; it owns the reply partition of "
        "that number, so no two running processes of a service share one",
        example="0",
        default=0,
        parse=parsers.whole_number(0, _ORDINAL_MAX),
    )
    health_host: str = setting(
        "HEALTH_HOST",
        "The address on which /healthz, /readyz and /metrics answer",
        example="127.0.0.1",
        default="127.0.0.1",
    )
    health_port: int = setting(
        "HEALTH_PORT",
        "The port on which /healthz, /readyz and /metrics answer; 0 takes any free one",
        example="9101",
        parse=parsers.port,
    )
    log_level: str = setting(
        "LOG_LEVEL",
        "The least severe level that is logged: debug, info, warning or error",
        example="info",
        default="info",
        parse=parsers.log_level,
    )
