"""`rewrap`: bring all ciphertexts to the newest version of their key."""

import asyncio
import sys
from typing import Final

import msgspec

from services.key_vault.config import KeyVaultConfig
from services.key_vault.use_cases.rewrap_credentials import Rewrapped
from services.key_vault.wiring import rewrap_all
from shared.errors import OpenRouteError
from shared.process import EXIT_STOPPED
from shared.telemetry.logging import configure_logging

_EXIT_UNFINISHED: Final = 1
_MISFITS_TOLD_MAX: Final = 20


def rewrap(config: KeyVaultConfig) -> int:
    """0 when no row is left at an old version, else 1 with the reason on stderr."""
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
