import re

import pytest

from deploy.vault.apply import KEYS, OPERATOR_POLICIES, POLICIES, ROLES

_PATH = re.compile(r'path "([^"]+)" \{\s*capabilities = \["([a-z", ]+)"\]\s*\}')

_GRANTED = {
    "ingress": {"transit/encrypt/intake", "transit/datakey/plaintext/wire"},
    "key-vault": {
        "transit/decrypt/intake",
        "transit/encrypt/credentials",
        "transit/rewrap/credentials",
    },
    "dispatcher": {"transit/decrypt/credentials", "transit/decrypt/wire"},
}


def test_there_is_one_policy_a_role_and_one_for_operators() -> None:
    policies = {file.stem for file in POLICIES.glob("*.hcl")}
    assert policies == {*ROLES, *OPERATOR_POLICIES}
    assert set(ROLES) == set(_GRANTED)


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_grants_update_on_exact_paths_and_nothing_else(role: str) -> None:
    text = (POLICIES / f"{role}.hcl").read_text(encoding="utf-8")
    granted = _PATH.findall(text)

    assert len(granted) == text.count("path ")
    assert {path for path, _ in granted} == {*_GRANTED[role], "auth/token/renew-self"}
    # `create` on a path of encryption would let a role make keys.
    assert {capabilities for _, capabilities in granted} == {"update"}
    assert not re.search(r'path "[^"]*[*+]', text)


@pytest.mark.parametrize("policy", OPERATOR_POLICIES)
def test_an_operators_policy_names_exact_paths_of_keys_and_opens_nothing(policy: str) -> None:
    text = (POLICIES / f"{policy}.hcl").read_text(encoding="utf-8")
    paths = re.findall(r'path "([^"]+)"', text)

    assert all(re.fullmatch(r"transit/keys/[a-z]+(/rotate|/config)?", path) for path in paths)
    configured = [path for path in paths if path.endswith("/config")]
    assert text.count('allowed_parameters = { "min_decryption_version" = [] }') == len(configured)


def test_every_key_that_a_policy_names_is_made() -> None:
    named = {path.split("/")[-1] for paths in _GRANTED.values() for path in paths}

    assert named == {key.name for key in KEYS}
