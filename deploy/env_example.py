"""`.env.example`, made from the services' own configurations.

`python -m deploy.env_example` writes it; with `--check` it only says whether it is up to date.
"""

import sys
from pathlib import Path

from services.billing.config import BillingConfig
from services.dispatcher.config import DispatcherConfig
from services.ingress.config import IngressConfig
from services.key_vault.config import KeyVaultConfig
from shared.config.example import render

FILE = Path(__file__).resolve().parents[1] / ".env.example"


def text() -> str:
    """What the file should hold."""
    return render(
        {
            "ingress": IngressConfig,
            "key-vault": KeyVaultConfig,
            "dispatcher": DispatcherConfig,
            "billing": BillingConfig,
        }
    )


def main(arguments: list[str]) -> int:
    """Write the file, or check it; the exit status."""
    if "--check" not in arguments:
        FILE.write_text(text(), encoding="utf-8")
        return 0
    if FILE.exists() and FILE.read_text(encoding="utf-8") == text():
        return 0
    sys.stderr.write(f"{FILE.name} is not up to date: run `make schemas`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
