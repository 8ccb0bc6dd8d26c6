"""What operators run beside the service, each to its end.

python -m services.key_vault.operations rewrap        all ciphertexts to their key's newest version
python -m services.key_vault.operations verify-audit  each damage to the audit, then counts as JSON

Exit codes: 0 done, 1 not done, or the audit is damaged, 2 the settings or the command are wrong.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

from services.key_vault.config import KeyVaultConfig
from services.key_vault.operations.rewrap import rewrap
from services.key_vault.operations.verify_audit import verify
from shared.config.environment import ConfigProblems, load
from shared.process import EXIT_MISCONFIGURED

_COMMANDS: Final[Mapping[str, Callable[[KeyVaultConfig], int]]] = {
    "rewrap": rewrap,
    "verify-audit": verify,
}


def main() -> int:
    """Carry out one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="operations")
    parser.add_argument("command", choices=sorted(_COMMANDS))
    command = parser.parse_args().command
    try:
        config = load(KeyVaultConfig, os.environ)
    except ConfigProblems as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return EXIT_MISCONFIGURED
    return _COMMANDS[command](config)


if __name__ == "__main__":
    sys.exit(main())
