"""`verify-audit`: look for what nobody may do to the audit."""

import asyncio
import sys
from typing import Final

import msgspec

from services.key_vault.config import KeyVaultConfig
from services.key_vault.domain.audit_chain import Damage
from services.key_vault.use_cases.verify_audit import verify_audit
from services.key_vault.wiring import open_audit
from shared.errors import Unavailable
from shared.process import EXIT_STOPPED

_EXIT_DAMAGED: Final = 1


def verify(config: KeyVaultConfig) -> int:
    """0 when the audit is whole, else 1 with each damage on a line; then counts as JSON."""
    return asyncio.run(_verify(config))


async def _verify(config: KeyVaultConfig) -> int:
    try:
        async with open_audit(config) as (chains, published):
            verified = await verify_audit(chains, published, _tell)
    except Unavailable as error:
        sys.stderr.write(f"the audit cannot be read to its end: {error}\n")
        return _EXIT_DAMAGED
    sys.stdout.write(msgspec.json.encode(verified).decode() + "\n")
    return _EXIT_DAMAGED if verified.damaged else EXIT_STOPPED


def _tell(damage: Damage) -> None:
    sys.stdout.write(f"account {damage.account_id}, entry {damage.number}: {damage.what}\n")
