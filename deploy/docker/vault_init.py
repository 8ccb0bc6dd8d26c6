"""One-shot job for trying out: initialises and unseals Vault, then applies deploy/vault.

Its unseal key and root token lie in a volume, which is what production must not do: there an
auto-unseal seal opens Vault, and an operator applies deploy/vault with a short-lived token.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hvac

from deploy.vault.apply import ROLES, apply

_REQUEST_SECONDS = 10.0
_ACTIVE_DEADLINE_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.2
_AUDIT_FILE = "/vault/logs/audit.log"


def main(environment: Mapping[str, str], *, keys: Path, roles: Path) -> int:
    """Run the job against VAULT_ADDRESS; gives the exit code.

    Args:
        environment: names the Vault.
        keys: folder for the unseal key and the root token.
        roles: folder with one folder a role, each a volume that only its service mounts.
    """
    client = hvac.Client(url=environment["VAULT_ADDRESS"], timeout=_REQUEST_SECONDS)
    kept = _initialised(client, keys / "vault.json")
    if client.sys.is_sealed():
        client.sys.submit_unseal_keys(kept["keys"])
    _wait_until_active(client)
    client.token = kept["root_token"]
    if "file/" not in client.sys.list_enabled_audit_devices()["data"]:
        client.sys.enable_audit_device("file", options={"file_path": _AUDIT_FILE})
    apply(client, role_file=lambda role, kind: roles / role / kind)
    for role in ROLES:
        # A role id is a name, not a secret; a fixed one can stand in the Compose file.
        client.auth.approle.update_role_id(role, role_id=role_id(role))
    sys.stdout.write("vault is unsealed and has its keys, policies and roles\n")
    return 0


def _wait_until_active(client: hvac.Client) -> None:
    # A node of one elects itself a moment after it is unsealed, and serves nothing before.
    deadline = time.monotonic() + _ACTIVE_DEADLINE_SECONDS
    # hvac gives the decoded body of a 200, and the bare response of every other state.
    while not isinstance(client.sys.read_health_status(method="GET"), dict):
        if time.monotonic() > deadline:
            raise TimeoutError("vault was unsealed but does not become active")
        time.sleep(_LOOK_AGAIN_SECONDS)


def role_id(role: str) -> str:
    """The role id that the Compose file gives to a service."""
    return f"openroute-{role}"


def _initialised(client: hvac.Client, file: Path) -> dict[str, Any]:
    if not client.sys.is_initialized():
        answer = client.sys.initialize(secret_shares=1, secret_threshold=1)
        file.touch(mode=0o600)
        file.write_text(json.dumps(answer), encoding="utf-8")
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return kept


if __name__ == "__main__":
    sys.exit(main(os.environ, keys=Path("/vault-keys"), roles=Path("/vault-roles")))  # noqa: TID251  # read once, here
