"""A private key in PEM: whether it can be signed with. CPU only, a few milliseconds."""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

BITS_MIN: Final = 2048
CHARACTERS_MAX: Final = 4096
"""An RSA key of 4096 bits has 3,272; checking a much longer one would take seconds."""
_BEGINNING: Final = "-----BEGIN "
_ENCRYPTED: Final = ("-----BEGIN ENCRYPTED", "Proc-Type: 4,ENCRYPTED")
_NOT_LOADED: Final = "private_key cannot be loaded; paste the file's content as Google made it."


def problem_of_private_key(pem: str) -> str | None:
    """Why a text is no private key that a service account can sign with, or None."""
    if len(pem) > CHARACTERS_MAX:
        return f"private_key is longer than {CHARACTERS_MAX} characters."
    if not pem.lstrip().startswith(_BEGINNING):
        return "private_key must begin with -----BEGIN PRIVATE KEY-----."
    if "\\n" in pem:
        return (
            "private_key has its line breaks as a backslash and an n: it was escaped twice; paste "
            "the file's content as Google made it."
        )
    if any(mark in pem for mark in _ENCRYPTED):
        return "private_key is encrypted with a passphrase; Google's own keys are not."
    return _problem_of_loaded(pem)


def _problem_of_loaded(pem: str) -> str | None:
    try:
        key = load_pem_private_key(pem.encode("ascii"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return _NOT_LOADED
    if not isinstance(key, RSAPrivateKey):
        return "private_key must be an RSA key."
    if key.key_size < BITS_MIN:
        return f"private_key must have at least {BITS_MIN} bits."
    return None
