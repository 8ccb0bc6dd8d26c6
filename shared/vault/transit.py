"""Vault's Transit engine: it encrypts and decrypts and keeps nothing but the keys.

Everything binary goes base64-coded, as Transit asks. A key that is derived needs the same `context`
for both ways, which binds a ciphertext to its owner.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.errors import Unavailable
from shared.vault.errors import DEPENDENCY
from shared.vault.session import VaultSession

_BATCH_MAX: Final = 100  # OpenBao refuses JSON of more than a thousand strings; an item has four
_DATA_KEY_BITS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKey:
    """A fresh 256-bit key, and the form in which it may be stored and sent."""

    plaintext: bytes = field(repr=False)
    wrapped: str


class Transit:
    """The operations that the services' roles are made for.

    All raise VaultRefused (no permission, no such key, ciphertext or context that do not fit), which
    no retry changes, and Unavailable("vault").
    """

    def __init__(self, session: VaultSession, mount: str = "transit") -> None:
        """Use the engine at `mount`."""
        self._session = session
        self._mount = mount

    async def encrypt(self, key: str, plaintext: bytes, *, context: bytes | None) -> str:
        """The ciphertext, `vault:v<version>:...`."""
        path = f"{self._mount}/encrypt/{key}"
        answer = await self._session.call(
            path,
            lambda client: client.secrets.transit.encrypt_data(
                name=key,
                plaintext=_coded(plaintext),
                context=_coded_or_none(context),
                mount_point=self._mount,
            ),
        )
        return _text(answer, "ciphertext")

    async def decrypt(self, key: str, ciphertext: str, *, context: bytes | None) -> bytes:
        """The plaintext."""
        path = f"{self._mount}/decrypt/{key}"
        answer = await self._session.call(
            path,
            lambda client: client.secrets.transit.decrypt_data(
                name=key,
                ciphertext=ciphertext,
                context=_coded_or_none(context),
                mount_point=self._mount,
            ),
        )
        return _decoded(answer, "plaintext")

    async def rewrap(self, key: str, items: Sequence[tuple[str, bytes]]) -> list[str | None]:
        """The same contents under the newest version of the key, without opening them.

        `items` are ciphertexts with their contexts; the result keeps their order, with None for each
        that does not fit: an item must not hold up the others.
        """
        rewrapped: list[str | None] = []
        for start in range(0, len(items), _BATCH_MAX):
            rewrapped.extend(await self._rewrap_batch(key, items[start : start + _BATCH_MAX]))
        return rewrapped

    async def data_key(self, key: str) -> DataKey:
        """A fresh data key, wrapped by `key`."""
        path = f"{self._mount}/datakey/plaintext/{key}"
        answer = await self._session.call(
            path,
            lambda client: client.secrets.transit.generate_data_key(
                name=key, key_type="plaintext", bits=_DATA_KEY_BITS, mount_point=self._mount
            ),
        )
        return DataKey(plaintext=_decoded(answer, "plaintext"), wrapped=_text(answer, "ciphertext"))

    async def _rewrap_batch(self, key: str, items: Sequence[tuple[str, bytes]]) -> list[str | None]:
        path = f"{self._mount}/rewrap/{key}"
        batch = [{"ciphertext": each, "context": _coded(context)} for each, context in items]
        answer = await self._session.call(
            path,
            lambda client: client.secrets.transit.rewrap_data(
                name=key, ciphertext="", batch_input=batch, mount_point=self._mount
            ),
        )
        results = answer["data"].get("batch_results")
        if not isinstance(results, list) or len(results) != len(items):
            raise Unavailable(DEPENDENCY, "an answer that is not Transit's")
        return [None if result.get("error") else result["ciphertext"] for result in results]


def _coded(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")


def _coded_or_none(raw: bytes | None) -> str | None:
    return None if raw is None else _coded(raw)


def _text(answer: Any, name: str) -> str:
    value = answer["data"].get(name)
    if not isinstance(value, str):
        raise Unavailable(DEPENDENCY, "an answer that is not Transit's")
    return value


def _decoded(answer: Any, name: str) -> bytes:
    try:
        return b64decode(_text(answer, name), validate=True)
    except binascii.Error:
        raise Unavailable(DEPENDENCY, "an answer that is not Transit's") from None
