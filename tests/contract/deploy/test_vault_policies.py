import re

import pytest

from deploy.vault.apply import KEYS, POLICIES, ROLES

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


def test_there_is_one_policy_a_role() -> None:
    assert {file.stem for file in POLICIES.glob("*.hcl")} == set(ROLES) == set(_GRANTED)


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_grants_update_on_exact_paths_and_nothing_else(role: str) -> None:
    text = (POLICIES / f"{role}.hcl").read_text(encoding="utf-8")
    granted = _PATH.findall(text)

    assert len(granted) == text.count("path ")
    assert {path for path, _ in granted} == {*_GRANTED[role], "auth/token/renew-self"}
    # `create` on a path of encryption would let a role make keys.
    assert {capabilities for _, capabilities in granted} == {"update"}
    assert not re.search(r'path "[^"]*[*+]', text)


def test_every_key_that_a_policy_names_is_made() -> None:
    named = {path.split("/")[-1] for paths in _GRANTED.values() for path in paths}

    assert named == {key.name for key in KEYS}
