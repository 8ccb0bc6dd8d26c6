"""Encryption through Vault's Transit engine, as the role key-vault."""

from collections.abc import Sequence
from typing import Final

from services.key_vault.domain.ciphertext import KeptCiphertext, key_version
from shared.errors import Unavailable
from shared.events.credentials import credential_context
from shared.secret import Secret
from shared.vault.errors import VaultForbidden, VaultRefused
from shared.vault.transit import Transit

_INTAKE: Final = "intake"
_CREDENTIALS: Final = "credentials"
_NOTHING: Final = b"-"
"""Encrypted to see with which version: this role may not read the key itself."""


class VaultEncryption:
    """The port Encryption."""

    def __init__(self, transit: Transit) -> None:
        """The role may decrypt with `intake` and encrypt with `credentials`."""
        self._transit = transit

    async def open_pasted(self, sealed_key: str, *, context: bytes) -> Secret | None:
        """What was pasted; None when it does not open in this context or is no UTF-8."""
        try:
            opened = await self._transit.decrypt(_INTAKE, sealed_key, context=context)
        except VaultForbidden as error:  # our own role is wrong: no fault of the caller's
            raise Unavailable("vault", str(error)) from None
        except VaultRefused:
            return None
        try:
            return Secret(opened.decode("utf-8"))
        except UnicodeDecodeError:
            return None

    async def encrypt(self, document: bytes, *, context: bytes) -> str:
        """The ciphertext, `vault:v<version>:...`."""
        try:
            return await self._transit.encrypt(_CREDENTIALS, document, context=context)
        except VaultRefused as error:
            raise Unavailable("vault", str(error)) from None


class VaultRewrapping:
    """The port Rewrapping."""

    def __init__(self, transit: Transit) -> None:
        """The role may encrypt and rewrap with `credentials`."""
        self._transit = transit

    async def newest_version(self) -> int:
        """The version of `credentials` that is encrypted with now."""
        try:
            made = await self._transit.encrypt(_CREDENTIALS, _NOTHING, context=_NOTHING)
        except VaultRefused as error:
            raise Unavailable("vault", str(error)) from None
        return key_version(made)

    async def rewrap(self, kept: Sequence[KeptCiphertext]) -> Sequence[str | None]:
        """The new ciphertexts in order; None for one that Vault cannot open in its place."""
        try:
            return await self._transit.rewrap(
                _CREDENTIALS, [(each.ciphertext, credential_context(*each.key)) for each in kept]
            )
        except VaultRefused as error:
            raise Unavailable("vault", str(error)) from None
