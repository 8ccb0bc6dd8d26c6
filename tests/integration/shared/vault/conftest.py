"""A role of its own for every test, in the session's real OpenBao."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hvac
import pytest

from deploy.local.private_files import read_json
from shared.vault.config import VaultConfig
from tests.conftest import Infrastructure

_numbers = itertools.count(1)

MakeRole = Callable[..., VaultConfig]


@pytest.fixture
def administrator(infrastructure: Infrastructure) -> Any:
    """A client with the root token; it blocks."""
    root = read_json(infrastructure.stack.places.secrets / "vault-root.json")
    assert root is not None
    return hvac.Client(url=infrastructure.vault, token=root["root_token"], timeout=5)


@pytest.fixture
def make_role(administrator: Any, infrastructure: Infrastructure, tmp_path: Path) -> MakeRole:
    """Makes an AppRole with the given policies and term; returns the settings to log in with."""

    def make(*policies: str, term: str = "1h") -> VaultConfig:
        role = f"trial-{next(_numbers)}"
        administrator.auth.approle.create_or_update_approle(
            role_name=role,
            token_policies=list(policies),
            token_no_default_policy=True,
            token_ttl=term,
            token_period=term,
        )
        role_id = administrator.auth.approle.read_role_id(role)["data"]["role_id"]
        secret_id = administrator.auth.approle.generate_secret_id(role)["data"]["secret_id"]
        secret_id_file = tmp_path / f"{role}.secret-id"
        secret_id_file.write_text(secret_id + "\n", encoding="utf-8")
        return VaultConfig(
            address=infrastructure.vault,
            role_id=role_id,
            secret_id_file=secret_id_file,
            start_wait_seconds=5,
        )

    return make


@pytest.fixture
def revoke_tokens(administrator: Any) -> Callable[[VaultConfig], int]:
    """Revokes every token of a role and returns how many it were; it blocks."""

    def revoke(config: VaultConfig) -> int:
        revoked = 0
        for accessor in administrator.list("auth/token/accessors")["data"]["keys"]:
            role = administrator.auth.token.lookup_accessor(accessor)["data"]["meta"] or {}
            if role.get("role_name") == config.secret_id_file.stem:
                administrator.auth.token.revoke_accessor(accessor)
                revoked += 1
        return revoked

    return revoke
