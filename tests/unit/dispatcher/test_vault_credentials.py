"""Opened credentials, and whom and how long they serve."""

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from services.dispatcher.outbound.vault_credentials import VaultCredentials
from shared.events.credential_secrets import StringSecret, encode_secret
from shared.events.credentials import CredentialChanged, credential_context
from shared.tasks import TaskScope
from shared.vault.errors import VaultRefused
from shared.vault.transit import Transit
from tests.unit.dispatcher.made import ACCOUNT, OTHER_ACCOUNT, credential
from tests.unit.dispatcher.world import AdjustableClock

SECRET = StringSecret(value="sk-made-up")


class OneContextVault:
    """Opens what belongs to one credential, and counts how often it was asked."""

    def __init__(self, context: bytes) -> None:
        self.context = base64.b64encode(context).decode()
        self.asked: list[str] = []

    async def call(self, path: str, work: Callable[[Any], Any]) -> Any:
        return work(_Client(self, path))


class _Client:
    def __init__(self, vault: OneContextVault, path: str) -> None:
        self.secrets = self
        self.transit = self
        self._vault = vault
        self._path = path

    def decrypt_data(
        self, *, name: str, ciphertext: str, context: str, mount_point: str
    ) -> dict[str, Any]:
        assert (name, mount_point) == ("credentials", "transit")
        self._vault.asked.append(ciphertext)
        if context != self._vault.context:
            raise VaultRefused(self._path, "InvalidRequest")
        plaintext = base64.b64encode(encode_secret(SECRET)).decode()
        return {"data": {"plaintext": plaintext}}


def opener(
    vault: OneContextVault, scope: TaskScope, newest: Callable[[CredentialChanged], str]
) -> VaultCredentials:
    session: Any = vault
    return VaultCredentials(
        Transit(session), newest_ciphertext=newest, clock=AdjustableClock(), scope=scope
    )


async def test_what_its_owner_has_open_serves_no_other_accounts_copy_of_the_row() -> None:
    own = credential("a")
    copied = msgspec.structs.replace(own, account_id=OTHER_ACCOUNT)
    vault = OneContextVault(credential_context(ACCOUNT, own.credential_id))
    async with TaskScope() as scope:
        secrets = opener(vault, scope, lambda each: each.ciphertext)
        assert await secrets.open(own) == SECRET
        assert await secrets.open(copied) is None
        assert await secrets.open(own) == SECRET
    assert len(vault.asked) == 2


async def test_the_newest_ciphertext_is_opened_and_a_rewrapped_one_is_not_opened_again() -> None:
    planned = credential("a")
    rewrapped = msgspec.structs.replace(planned, version=2, ciphertext="vault:v2:rewrapped")
    vault = OneContextVault(credential_context(ACCOUNT, planned.credential_id))
    async with TaskScope() as scope:
        secrets = opener(vault, scope, lambda _: rewrapped.ciphertext)
        assert await secrets.open(planned) == SECRET
        assert await secrets.open(rewrapped) == SECRET
        secrets.forget(planned.credential_id)
        assert await secrets.open(rewrapped) == SECRET
    assert vault.asked == ["vault:v2:rewrapped", "vault:v2:rewrapped"]
