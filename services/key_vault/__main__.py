"""`python -m services.key_vault`: the process. What runs to an end is in `operations`."""

import os
import sys

from services.key_vault.config import KeyVaultConfig
from services.key_vault.wiring import open_key_vault
from shared.process import Stop, run


async def _main(config: KeyVaultConfig, stop: Stop) -> None:
    async with open_key_vault(config) as key_vault:
        await key_vault.run(stop)


if __name__ == "__main__":
    sys.exit(run("key-vault", KeyVaultConfig, os.environ, sys.argv[1:], _main))
