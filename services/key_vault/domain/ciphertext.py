"""What Transit's ciphertexts tell of themselves: `vault:v<version>:<base64>`."""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from shared.ids import AccountId, CredentialId

CredentialKey: TypeAlias = tuple[AccountId, CredentialId]
"""Where a ciphertext is kept, and so the only place where it opens."""

_MARKED: Final = re.compile(r"vault:v([1-9][0-9]{0,8}):")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCiphertext:
    """A ciphertext and its place."""

    key: CredentialKey
    ciphertext: str


def key_version(ciphertext: str) -> int:
    """The version of the key that it was encrypted with; 0 for what is no ciphertext of Transit."""
    marked = _MARKED.match(ciphertext)
    return int(marked[1]) if marked else 0
