"""Encryption through Vault's Transit engine, as the role key-vault."""

from typing import Final

from shared.errors import Unavailable
from shared.secret import Secret
from shared.vault.errors import VaultForbidden, VaultRefused
from shared.vault.transit import Transit

_INTAKE: Final = "intake"
_CREDENTIALS: Final = "credentials"


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
