"""Keys that travel in a header."""

from typing import Final

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.ports import ProviderSecret
from shared.events.credential_secrets import StringSecret

WRONG_SECRET: Final = ProviderFailure(failure=FailureClass.MISCONFIGURED, code="credential_shape")
"""The credential is not of the shape that this provider needs."""


def header_key(secret: ProviderSecret) -> str | ProviderFailure:
    """The key of a provider whose keys are one string."""
    if not isinstance(secret, StringSecret):
        return WRONG_SECRET
    key = secret.value.strip()
    return key if fits_a_header(key) else WRONG_SECRET


def fits_a_header(key: str) -> bool:
    """Whether a key can be sent as it is: a line break in it would begin a header of its own."""
    return bool(key) and key.isascii() and key.isprintable()
