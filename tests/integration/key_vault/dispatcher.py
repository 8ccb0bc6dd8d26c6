"""What only a dispatcher may do: open a kept credential."""

from pathlib import Path

from shared.clock import SystemClock
from shared.vault.config import VaultConfig
from shared.vault.session import open_vault
from shared.vault.transit import Transit
from tests.conftest import Infrastructure


async def opened_by_dispatcher(
    infrastructure: Infrastructure, ciphertext: str, context: bytes
) -> bytes:
    environment = infrastructure.environment("dispatcher")
    config = VaultConfig(
        address=infrastructure.vault,
        role_id=environment["VAULT_ROLE_ID"],
        secret_id_file=Path(environment["VAULT_SECRET_ID_FILE"]),
    )
    async with open_vault(config, SystemClock()) as session:
        return await Transit(session).decrypt("credentials", ciphertext, context=context)
