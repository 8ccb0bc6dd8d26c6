"""Each role, tried on a real server: every verb, on every operation, with every key, and elsewhere."""

import base64
import contextlib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidRequest, VaultError

from deploy.local.private_files import read_json
from deploy.vault.keys import read_versions, retire_before, rotate
from tests.conftest import Infrastructure

pytestmark = pytest.mark.connected

_CONTEXT = base64.b64encode(b"account and credential").decode()
_OTHER_CONTEXT = base64.b64encode(b"somebody else").decode()
_PLAINTEXT = base64.b64encode(b"sk-made-up").decode()

_KEYS = ("intake", "credentials", "wire")
_VERBS = ("GET", "LIST", "POST", "PUT", "PATCH", "DELETE")
_OPERATIONS = (
    "encrypt/{key}",
    "decrypt/{key}",
    "rewrap/{key}",
    "datakey/plaintext/{key}",
    "datakey/wrapped/{key}",
    "hmac/{key}",
    "sign/{key}",
    "verify/{key}",
    "backup/{key}",
    "restore/{key}",
    "export/encryption-key/{key}",
    "export/encryption-key/{key}/1",
    "export/hmac-key/{key}",
    "byok-export/wire/{key}",
    "keys/{key}",
    "keys/{key}/rotate",
    "keys/{key}/config",
    "keys/{key}/trim",
    "keys/{key}/import",
    "keys/{key}/import_version",
    "keys/{key}/soft-delete",
    "keys/{key}/soft-delete-restore",
)
"""What Transit can do with a key. Creating is `keys`, and so is reading and deleting."""
_OTHER_KEYS = ("misspelt", "credentials-2", "*", "+")
"""Keys that there are none of: encrypting must not make them, whatever the name."""
_ELSEWHERE = (
    "transit/keys",
    "transit/restore",
    "transit/random",
    "transit/hash",
    "transit/wrapping_key",
    "transit/cache-config",
    "transit/config/keys",
    "secret/data/anything",
    "cubbyhole/anything",
    "identity/entity",
    "identity/lookup/entity",
    "auth/approle/role",
    *(
        f"auth/approle/role/{role}{part}"
        for role in ("ingress", "key-vault", "dispatcher")
        for part in ("", "/role-id", "/secret-id", "/custom-secret-id", "/policies")
    ),
    "auth/approle/tidy/secret-id",
    "auth/token/accessors",
    "auth/token/create",
    "auth/token/create-orphan",
    "auth/token/lookup",
    "auth/token/lookup-self",
    "auth/token/renew",
    "auth/token/revoke",
    "auth/token/revoke-orphan",
    "auth/token/roles/mine",
    "auth/token/tidy",
    "sys/audit",
    "sys/audit/file",
    "sys/auth",
    "sys/auth/mine",
    "sys/capabilities",
    "sys/capabilities-self",
    "sys/config/auditing/request-headers",
    "sys/config/cors",
    "sys/config/ui/headers",
    "sys/control-group/request",
    "sys/host-info",
    "sys/internal/counters/activity",
    "sys/key-status",
    "sys/leases/lookup",
    "sys/leases/revoke-prefix/auth",
    "sys/loggers",
    "sys/metrics",
    "sys/mounts",
    "sys/mounts/mine",
    "sys/mounts/transit/tune",
    "sys/namespaces",
    "sys/plugins/catalog",
    "sys/policies/acl",
    *(f"sys/policies/acl/{name}" for name in ("ingress", "key-vault", "dispatcher", "rotation")),
    "sys/policies/password/mine",
    "sys/policy",
    "sys/quotas/config",
    "sys/raw/core",
    "sys/remount",
    "sys/rotate",
    "sys/storage/raft/configuration",
    "sys/storage/raft/remove-peer",
    "sys/storage/raft/snapshot",
    "sys/tools/hash",
    "sys/tools/random",
    "sys/wrapping/wrap",
)
"""What is not about a key of ours. Left out is what anybody may do without a token: sys/health,
sys/seal-status, sys/init, sys/unseal, sys/leader, auth/approle/login, unwrapping."""

_Operation = tuple[str, str]
_UPDATES = ("POST", "PUT")
_PATCHING = {"Content-Type": "application/merge-patch+json"}
_ALLOWED: Mapping[str, AbstractSet[_Operation]] = {
    role: {
        *((verb, path) for verb in _UPDATES for path in updated),
        *(("GET", path) for path in read),
    }
    for role, updated, read in (
        ("ingress", ("transit/encrypt/intake", "transit/datakey/plaintext/wire"), ()),
        (
            "key-vault",
            (
                "transit/decrypt/intake",
                "transit/encrypt/credentials",
                "transit/rewrap/credentials",
            ),
            (),
        ),
        ("dispatcher", ("transit/decrypt/credentials", "transit/decrypt/wire"), ()),
        (
            "rotation",
            (
                "transit/keys/credentials/rotate",
                "transit/keys/credentials/config",
                "transit/keys/intake/rotate",
                "transit/keys/intake/config",
                "transit/keys/wire/config",
            ),
            ("transit/keys/credentials", "transit/keys/intake", "transit/keys/wire"),
        ),
    )
}
_SERVICES = ("ingress", "key-vault", "dispatcher")


def _everything() -> Iterator[_Operation]:
    """Each verb on each path that Vault knows of."""
    for key in (*_KEYS, *_OTHER_KEYS):
        for operation in _OPERATIONS:
            for verb in _VERBS:
                yield verb, f"transit/{operation.format(key=key)}"
    for path in _ELSEWHERE:
        for verb in _VERBS:
            yield verb, path
    for path in ("sys/seal", "sys/step-down"):  # these know no other verb, whoever asks
        for verb in _UPDATES:
            yield verb, path


@pytest.fixture(scope="module")
def clients(infrastructure: Infrastructure) -> Mapping[str, hvac.Client]:
    token = infrastructure.stack.vault_token("rotation")
    operator = hvac.Client(url=infrastructure.vault, token=token, timeout=5)
    return {role: _client(infrastructure, role) for role in _SERVICES} | {"rotation": operator}


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
def test_a_role_is_refused_every_operation_on_every_path_that_is_not_its_own(
    clients: Mapping[str, hvac.Client], role: str
) -> None:
    done: list[_Operation] = []
    body = {"plaintext": _PLAINTEXT, "context": _CONTEXT}
    for verb, path in _everything():
        if (verb, path) in _ALLOWED[role]:
            continue
        try:
            clients[role].adapter.request(
                verb, f"/v1/{path}", json=body, headers=_PATCHING if verb == "PATCH" else {}
            )
        except Forbidden:
            continue
        except VaultError:
            pass  # not refused by its policy, but for what was sent
        done.append((verb, path))

    assert done == []


@pytest.mark.parametrize("role", list(_ALLOWED))
def test_what_a_role_may_do_is_not_forbidden(clients: Mapping[str, hvac.Client], role: str) -> None:
    # else the test above would show nothing: a role that may do nothing passes it
    for verb, path in _ALLOWED[role]:
        if path.endswith(("/rotate", "/config")):
            continue  # tried below, one by one, for what they change
        with contextlib.suppress(InvalidRequest):  # nothing that opens was sent
            clients[role].adapter.request(
                verb, f"/v1/{path}", json={"plaintext": _PLAINTEXT, "context": _CONTEXT}
            )


def test_the_operators_token_changes_nothing_of_a_key_but_what_rotation_needs(
    infrastructure: Infrastructure, clients: Mapping[str, hvac.Client]
) -> None:
    before = read_versions(clients["rotation"], "credentials")
    for key in _KEYS:
        for setting in (
            {"deletion_allowed": True},
            {"exportable": True},
            {"allow_plaintext_backup": True},
            {"min_encryption_version": 1},
            {"auto_rotate_period": "0"},
            {"min_decryption_version": 1, "deletion_allowed": True},
        ):
            with pytest.raises(Forbidden):
                clients["rotation"].adapter.post(f"/v1/transit/keys/{key}/config", json=setting)

    newest = rotate(clients["rotation"], "credentials")
    retire_before(clients["rotation"], "credentials", before.oldest_open)

    assert newest == before.newest + 1
    data = _root(infrastructure).adapter.get("/v1/transit/keys/credentials")["data"]
    assert (data["deletion_allowed"], data["exportable"]) == (False, False)


def test_a_pasted_secret_passes_from_ingress_through_key_vault_to_the_dispatcher(
    clients: Mapping[str, hvac.Client],
) -> None:
    ingress, key_vault, dispatcher = (clients[role] for role in _SERVICES)

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


@pytest.mark.parametrize("role", _SERVICES)
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
