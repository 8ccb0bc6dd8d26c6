"""The key_vault process, or with --rewrap what follows the rotation of its key.

python -m services.key_vault                 run until SIGTERM
python -m services.key_vault --check-config  validate the settings
python -m services.key_vault --rewrap        bring all ciphertexts to the key's newest version
"""

import asyncio
import os
import sys
from typing import Final

import msgspec

from services.key_vault.config import KeyVaultConfig
from services.key_vault.use_cases.rewrap_credentials import Rewrapped
from services.key_vault.wiring import open_key_vault, rewrap_all
from shared.config.environment import ConfigProblems, load
from shared.errors import OpenRouteError
from shared.process import EXIT_MISCONFIGURED, EXIT_STOPPED, Stop, run
from shared.telemetry.logging import configure_logging

_REWRAP: Final = "--rewrap"
_EXIT_UNFINISHED: Final = 1
_MISFITS_TOLD_MAX: Final = 20


async def _serve(config: KeyVaultConfig, stop: Stop) -> None:
    async with open_key_vault(config) as key_vault:
        await key_vault.run(stop)


def _tell(so_far: Rewrapped) -> None:
    """One line of JSON a batch: programs read it, and so can people."""
    line = msgspec.json.encode(
        {
            "version": so_far.version,
            "rewrapped": so_far.done,
            "left": so_far.left,
            "misfits": len(so_far.misfits),
        }
    )
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()


def _rewrap(config: KeyVaultConfig) -> int:
    """Rewrap all; 0 when no row is left at an old version, else 1 with the reason on stderr."""
    configure_logging("key-vault", "key-vault-rewrap", "error", stream=sys.stderr.buffer)
    try:
        rewrapped = asyncio.run(rewrap_all(config, _tell))
    except OpenRouteError as error:
        sys.stderr.write(f"rewrapping stopped: {error}; run it again, it goes on from there\n")
        return _EXIT_UNFINISHED
    for account_id, credential_id in rewrapped.misfits[:_MISFITS_TOLD_MAX]:
        sys.stderr.write(
            f"credential {credential_id} of account {account_id} does not open where it is kept: "
            "it was moved there, or its key's version is gone; it must be pasted again or deleted\n"
        )
    if rewrapped.left:
        sys.stderr.write(f"{rewrapped.left} credentials are left at an old version\n")
        return _EXIT_UNFINISHED
    return EXIT_STOPPED


def _main() -> int:
    arguments = sys.argv[1:]
    if arguments != [_REWRAP]:
        return run("key-vault", KeyVaultConfig, os.environ, arguments, _serve)
    try:
        config = load(KeyVaultConfig, os.environ)
    except ConfigProblems as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return EXIT_MISCONFIGURED
    return _rewrap(config)


if __name__ == "__main__":
    sys.exit(_main())
