"""The key_vault process, or with --verify-audit a check of the audit.

python -m services.key_vault                 run until SIGTERM
python -m services.key_vault --check-config  validate the settings
python -m services.key_vault --verify-audit  print each damage, then counts as JSON; exit 1 for any
"""

import asyncio
import os
import sys

import msgspec

from services.key_vault.config import KeyVaultConfig
from services.key_vault.domain.audit_chain import Damage
from services.key_vault.use_cases.verify_audit import verify_audit
from services.key_vault.wiring import open_audit, open_key_vault
from shared.config.environment import ConfigProblems, load
from shared.errors import Unavailable
from shared.process import EXIT_MISCONFIGURED, EXIT_STOPPED, Stop, run

_VERIFY_AUDIT = "--verify-audit"
_EXIT_DAMAGED = 1


async def _main(config: KeyVaultConfig, stop: Stop) -> None:
    async with open_key_vault(config) as key_vault:
        await key_vault.run(stop)


def _tell(damage: Damage) -> None:
    sys.stdout.write(f"account {damage.account_id}, entry {damage.number}: {damage.what}\n")


async def _verify(config: KeyVaultConfig) -> int:
    try:
        async with open_audit(config) as (chains, published):
            verified = await verify_audit(chains, published, _tell)
    except Unavailable as error:
        sys.stderr.write(f"the audit cannot be read to its end: {error}\n")
        return _EXIT_DAMAGED
    sys.stdout.write(msgspec.json.encode(verified).decode() + "\n")
    return _EXIT_DAMAGED if verified.damaged else EXIT_STOPPED


def main() -> int:
    """Do what the arguments say and return the exit code."""
    arguments = sys.argv[1:]
    if arguments != [_VERIFY_AUDIT]:
        return run("key-vault", KeyVaultConfig, os.environ, arguments, _main)
    try:
        config = load(KeyVaultConfig, os.environ)
    except ConfigProblems as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return EXIT_MISCONFIGURED
    return asyncio.run(_verify(config))


if __name__ == "__main__":
    sys.exit(main())
