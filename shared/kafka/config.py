"""How a process reaches Kafka."""

from dataclasses import dataclass

from shared.config.environment import setting
from shared.config.parsers import host_port_list


def _servers(value: str) -> str:
    return ",".join(host_port_list(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConfig:
    """Settings of every Kafka client of a process."""

    bootstrap_servers: str = setting(
        "KAFKA_BOOTSTRAP_SERVERS",
        "Kafka brokers to begin with, comma-separated",
        example="127.0.0.1:9092",
        parse=_servers,
    )
