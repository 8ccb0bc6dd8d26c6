"""Each service's role, tried on a real server, on every path that any service uses and more."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidRequest

from deploy.local.private_files import read_json
from tests.conftest import Infrastructure

pytestmark = pytest.mark.connected

_CONTEXT = base64.b64encode(b"account and credential").decode()
_OTHER_CONTEXT = base64.b64encode(b"somebody else").decode()
_PLAINTEXT = base64.b64encode(b"sk-made-up").decode()

_ALLOWED = {
    "ingress": {"encrypt/intake", "datakey/plaintext/wire"},
    "key-vault": {"decrypt/intake", "encrypt/credentials", "rewrap/credentials"},
    "dispatcher": {"decrypt/credentials", "decrypt/wire"},
}
_ACTIONS = ("encrypt", "decrypt", "rewrap", "datakey/plaintext", "datakey/wrapped", "hmac", "sign")
_KEYS = ("intake", "credentials", "wire")
_ELSEWHERE = (
    ("GET", "transit/keys/credentials"),
    ("GET", "transit/export/encryption-key/credentials"),
    ("GET", "transit/backup/credentials"),
    ("LIST", "transit/keys"),
    ("POST", "transit/keys/mine"),
    ("POST", "transit/keys/wire/rotate"),
    ("POST", "transit/keys/wire/config"),
    ("DELETE", "transit/keys/wire"),
    ("POST", "transit/encrypt/mine"),
    ("GET", "sys/policies/acl/ingress"),
    ("PUT", "sys/policies/acl/ingress"),
    ("GET", "sys/mounts"),
    ("GET", "sys/audit"),
    ("POST", "auth/approle/role/ingress/secret-id"),
    ("GET", "auth/approle/role/dispatcher/role-id"),
    ("POST", "auth/token/create"),
    ("GET", "auth/token/lookup-self"),
    ("GET", "cubbyhole/anything"),
)


@pytest.fixture(scope="module")
def clients(infrastructure: Infrastructure) -> Mapping[str, hvac.Client]:
    return {role: _client(infrastructure, role) for role in _ALLOWED}


def _client(infrastructure: Infrastructure, role: str) -> hvac.Client:
    environment = infrastructure.environment(role.replace("-", "_"))
    client = hvac.Client(url=environment["VAULT_ADDRESS"], timeout=5)
    secret_id = Path(environment["VAULT_SECRET_ID_FILE"]).read_text(encoding="utf-8")
    client.auth.approle.login(role_id=environment["VAULT_ROLE_ID"], secret_id=secret_id)
    return client


def _root(infrastructure: Infrastructure) -> hvac.Client:
    kept = read_json(infrastructure.stack.places.secrets / "vault-root.json")
    assert kept is not None
    return hvac.Client(url=infrastructure.vault, token=kept["root_token"], timeout=5)


def _post(client: hvac.Client, path: str, **body: str) -> dict[str, Any]:
    data: dict[str, Any] = client.adapter.post(f"/v1/transit/{path}", json=body)["data"]
    return data


@pytest.mark.parametrize("role", list(_ALLOWED))
def test_a_role_is_refused_every_action_that_is_not_its_own(
    clients: Mapping[str, hvac.Client], role: str
) -> None:
    paths = {f"{action}/{key}" for action in _ACTIONS for key in _KEYS} - _ALLOWED[role]

    for path in paths:
        with pytest.raises(Forbidden):
            _post(clients[role], path, plaintext=_PLAINTEXT, context=_CONTEXT)


@pytest.mark.parametrize("role", list(_ALLOWED))
def test_a_role_is_refused_everything_else_in_vault(
    clients: Mapping[str, hvac.Client], role: str
) -> None:
    for method, path in _ELSEWHERE:
        with pytest.raises(Forbidden):
            clients[role].adapter.request(method, f"/v1/{path}", json={})


def test_a_pasted_secret_passes_from_ingress_through_key_vault_to_the_dispatcher(
    clients: Mapping[str, hvac.Client],
) -> None:
    ingress, key_vault, dispatcher = (clients[role] for role in _ALLOWED)

    pasted = _post(ingress, "encrypt/intake", plaintext=_PLAINTEXT, context=_CONTEXT)
    opened = _post(key_vault, "decrypt/intake", ciphertext=pasted["ciphertext"], context=_CONTEXT)
    kept = _post(key_vault, "encrypt/credentials", plaintext=opened["plaintext"], context=_CONTEXT)
    rewrapped = _post(
        key_vault, "rewrap/credentials", ciphertext=kept["ciphertext"], context=_CONTEXT
    )
    used = _post(
        dispatcher, "decrypt/credentials", ciphertext=rewrapped["ciphertext"], context=_CONTEXT
    )

    assert used["plaintext"] == _PLAINTEXT
    with pytest.raises(InvalidRequest):
        _post(
            dispatcher,
            "decrypt/credentials",
            ciphertext=rewrapped["ciphertext"],
            context=_OTHER_CONTEXT,
        )


def test_a_data_key_of_ingress_is_opened_by_the_dispatcher(
    clients: Mapping[str, hvac.Client],
) -> None:
    made = _post(clients["ingress"], "datakey/plaintext/wire")

    opened = _post(clients["dispatcher"], "decrypt/wire", ciphertext=made["ciphertext"])

    assert opened["plaintext"] == made["plaintext"]


@pytest.mark.parametrize("role", list(_ALLOWED))
def test_a_token_lasts_an_hour_and_its_process_can_renew_it(
    clients: Mapping[str, hvac.Client], role: str
) -> None:
    renewed = clients[role].auth.token.renew_self()["auth"]

    assert renewed["lease_duration"] == 3600
    assert renewed["renewable"]
    assert renewed["policies"] == [role]


def test_no_key_can_leave_vault_or_be_made_by_a_misspelt_name(
    infrastructure: Infrastructure,
) -> None:
    root = _root(infrastructure)

    for key in _KEYS:
        data = root.adapter.get(f"/v1/transit/keys/{key}")["data"]
        assert data["type"] == "aes256-gcm96"
        assert (data["exportable"], data["allow_plaintext_backup"]) == (False, False)
        assert data["deletion_allowed"] is False
        assert data["derived"] is (key != "wire")
    with pytest.raises(InvalidRequest):
        _post(root, "encrypt/misspelt", plaintext=_PLAINTEXT)


def test_applying_the_policies_again_keeps_keys_and_secret_ids(
    infrastructure: Infrastructure, clients: Mapping[str, hvac.Client]
) -> None:
    environment = infrastructure.environment("ingress")
    secret_id = Path(environment["VAULT_SECRET_ID_FILE"]).read_text(encoding="utf-8")
    made = _post(clients["ingress"], "datakey/plaintext/wire")

    infrastructure.stack.apply_vault_policies()

    assert Path(environment["VAULT_SECRET_ID_FILE"]).read_text(encoding="utf-8") == secret_id
    opened = _post(clients["dispatcher"], "decrypt/wire", ciphertext=made["ciphertext"])
    assert opened["plaintext"] == made["plaintext"]


def test_every_request_is_audited_without_its_secrets(
    infrastructure: Infrastructure, clients: Mapping[str, hvac.Client]
) -> None:
    _post(clients["ingress"], "encrypt/intake", plaintext=_PLAINTEXT, context=_CONTEXT)

    audited = (infrastructure.stack.places.data("vault") / "audit.log").read_text()

    assert "transit/encrypt/intake" in audited
    assert _PLAINTEXT not in audited
