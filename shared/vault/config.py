"""The settings of a service that uses Vault (or OpenBao, which speaks the same API)."""

from dataclasses import dataclass
from pathlib import Path

from shared.config import parsers
from shared.config.environment import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConfig:
    """Where Vault is, and as whom this service logs in."""

    address: str = setting(
        "VAULT_ADDRESS",
        "Where Vault or OpenBao listens",
        example="http://127.0.0.1:8200",
        parse=parsers.url,
    )
    role_id: str = setting(
        "VAULT_ROLE_ID",
        "The RoleID of this service's AppRole; its mount is `approle`",
        example="5f2c1b7e-0000-4000-8000-000000000000",
        secret=True,
    )
    secret_id_file: Path = setting(
        "VAULT_SECRET_ID_FILE",
        "A file, readable by this service alone, with the SecretID; read again at every login",
        example="/run/secrets/vault-secret-id",
    )
    ca_file: Path | None = setting(
        "VAULT_CA_FILE",
        "The certificates that Vault's own is checked against; empty: those that come with Python",
        example="/etc/openroute/vault-ca.pem",
        default=None,
    )
    timeout_seconds: float = setting(
        "VAULT_TIMEOUT_SECONDS",
        "How long one call may take, waiting for a free thread included",
        example="3",
        default=3.0,
        parse=parsers.positive_seconds,
    )
    threads: int = setting(
        "VAULT_THREADS",
        "Calls that may be under way at the same time",
        example="4",
        default=4,
        parse=parsers.whole_number(1, 64),
    )
    start_wait_seconds: float = setting(
        "VAULT_START_WAIT_SECONDS",
        "How long a starting process waits for Vault to answer",
        example="30",
        default=30.0,
        parse=parsers.positive_seconds,
    )
