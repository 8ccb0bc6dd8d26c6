"""The settings of key_vault."""

from dataclasses import dataclass

from shared.config import parsers
from shared.config.environment import setting
from shared.config.process import ProcessConfig
from shared.kafka.config import KafkaConfig
from shared.postgres.config import PostgresConfig
from shared.vault.config import VaultConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVaultConfig:
    """Everything that the process is told."""

    process: ProcessConfig
    kafka: KafkaConfig
    postgres: PostgresConfig
    vault: VaultConfig
    egress_allow: tuple[str, ...] = setting(
        "EGRESS_ALLOW",
        "host:port pairs, comma-separated, that may be called over http or at private addresses, "
        "by base URLs and by addresses inside credentials",
        example="127.0.0.1:9300",
        default=(),
        parse=parsers.host_port_list,
    )
