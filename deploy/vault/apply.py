"""Brings a Vault (or OpenBao) to the state that the services need; may be run again at any time.

    python -m deploy.vault.apply --address http://127.0.0.1:8200 --token-file root-token \
        --credentials-folder somewhere-private

It makes the transit mount and its three keys, forbids keys made by mistake, writes the policies and
the services' AppRoles, and, where a folder is given, leaves each role's id and secret id there (0600).
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac

_REQUEST_SECONDS = 10.0
_TOKEN_TTL = "1h"  # noqa: S105  # a length of time
_TRANSIT = "transit"
_APPROLE = "approle"
POLICIES = Path(__file__).with_name("policies")

ROLES = ("ingress", "key-vault", "dispatcher")
"""billing needs no Vault."""

OPERATOR_POLICIES = ("rotation",)
"""For short-lived tokens that an operator takes; no process logs in with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitKey:
    """An AES-256-GCM key that never leaves Vault.

    Attributes:
        derived: each context (account and credential, say) gets a key of its own, so that a
            ciphertext opens only where it belongs.
        rotated_every: how often a new version is made by Vault itself; "0" for never.
    """

    name: str
    derived: bool
    rotated_every: str = "0"


KEYS = (
    TransitKey(name="intake", derived=True),
    TransitKey(name="credentials", derived=True),
    TransitKey(name="wire", derived=False, rotated_every="24h"),
)


def apply(client: hvac.Client, *, role_file: Callable[[str, str], Path] | None) -> None:
    """Make what is missing and set what differs.

    Args:
        client: authenticated as somebody who may do all this (a root token when trying out).
        role_file: (role, "role-id" or "secret-id") → the file to leave it in; None to issue
            nothing, as where an orchestrator hands out secret ids.
    """
    _mounts(client)
    for key in KEYS:
        _transit_key(client, key)
    for name in (*ROLES, *OPERATOR_POLICIES):
        policy = (POLICIES / f"{name}.hcl").read_text(encoding="utf-8")
        client.sys.create_or_update_policy(name=name, policy=policy)
    for role in ROLES:
        client.auth.approle.create_or_update_approle(
            role_name=role,
            token_policies=[role],
            token_no_default_policy=True,
            token_ttl=_TOKEN_TTL,
            token_max_ttl="0",  # noqa: S106  # no limit
            token_period=_TOKEN_TTL,  # renewable for as long as the process lives
            token_type="service",  # noqa: S106
            bind_secret_id=True,
            mount_point=_APPROLE,
        )
        if role_file is not None:
            _credentials(client, role, role_file)


def _mounts(client: hvac.Client) -> None:
    secrets_engines = client.sys.list_mounted_secrets_engines()["data"]
    if f"{_TRANSIT}/" not in secrets_engines:
        client.sys.enable_secrets_engine(backend_type="transit", path=_TRANSIT)
    auth_methods = client.sys.list_auth_methods()["data"]
    if f"{_APPROLE}/" not in auth_methods:
        client.sys.enable_auth_method(method_type="approle", path=_APPROLE)
    # Otherwise encrypting with a misspelt key name would make that key.
    client.adapter.post(f"/v1/{_TRANSIT}/config/keys", json={"disable_upsert": True})


def _transit_key(client: hvac.Client, key: TransitKey) -> None:
    path = f"/v1/{_TRANSIT}/keys/{key.name}"
    # Vault leaves a key that exists as it is.
    client.adapter.post(
        path,
        json={
            "type": "aes256-gcm96",
            "derived": key.derived,
            "exportable": False,
            "allow_plaintext_backup": False,
        },
    )
    client.adapter.post(f"{path}/config", json={"auto_rotate_period": key.rotated_every})


def _credentials(client: hvac.Client, role: str, role_file: Callable[[str, str], Path]) -> None:
    role_id = client.auth.approle.read_role_id(role, mount_point=_APPROLE)["data"]["role_id"]
    _write(role_file(role, "role-id"), role_id)
    path = role_file(role, "secret-id")
    if not (path.exists() and _is_accepted(client, role, path.read_text(encoding="utf-8"))):
        answer = client.auth.approle.generate_secret_id(role, mount_point=_APPROLE)
        _write(path, answer["data"]["secret_id"])


def _is_accepted(client: hvac.Client, role: str, secret_id: str) -> bool:
    with contextlib.suppress(hvac.exceptions.VaultError):
        answer = client.auth.approle.read_secret_id(role, secret_id, mount_point=_APPROLE)
        # An unknown one is an empty answer (204), not an error.
        return isinstance(answer, dict)
    return False


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def main(arguments: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run as a command; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.vault.apply", description=__doc__)
    parser.add_argument("--address", default=environment.get("VAULT_ADDRESS"))
    parser.add_argument("--token-file", type=Path, help="else VAULT_TOKEN")
    parser.add_argument(
        "--credentials-folder", type=Path, help="where to leave role and secret ids"
    )
    given = parser.parse_args(arguments)
    token = _token(given, environment)
    if not given.address or not token:
        parser.error("--address (or VAULT_ADDRESS) and --token-file (or VAULT_TOKEN) are needed")
    client = hvac.Client(url=given.address, token=token, timeout=_REQUEST_SECONDS)
    folder: Path | None = given.credentials_folder
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        apply(
            client,
            role_file=None if folder is None else lambda role, kind: folder / f"{role}.{kind}",
        )
    except (hvac.exceptions.VaultError, OSError) as error:
        sys.stderr.write(f"Vault at {given.address} cannot be set up: {error}\n")
        return 1
    sys.stdout.write(f"Vault at {given.address} has its keys, policies and roles.\n")
    return 0


def _token(given: Any, environment: Mapping[str, str]) -> str:
    if given.token_file is not None:
        return Path(given.token_file).read_text(encoding="utf-8").strip()
    return environment.get("VAULT_TOKEN", "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], environment=os.environ))  # noqa: TID251  # read once, here
