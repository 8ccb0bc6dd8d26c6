"""Customers' content on its way through Kafka: AES-256-GCM, a subkey for each generation.

Vault makes a data key for each ingress process. From it keyed BLAKE2b (RFC 7693; docs/adr/0008 says
why not HKDF) derives a subkey for one generation, so that no key ever meets a nonce twice in
practice: nonces are random, 96 bits, and a subkey seals at most one request and the frames of its
runs. The event's type, the generation, the run and the frame's number are authenticated, so nothing
that was sealed can be moved, swapped or taken for something else.
"""

import os
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import OpenRouteError
from shared.ids import GenerationId

DATA_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_PURPOSE: Final = b"openroute wire"
"""Keeps these subkeys apart from anything else that could ever be derived from a data key."""


class SealBroken(OpenRouteError):  # noqa: N818 - it says what happened
    """The sealed bytes were not made with this key for this place, or were changed."""


class Seal:
    """Seals and opens what belongs to one generation.

    A place in it is an event's type, a run's id and a frame's number. A request has no run yet: its
    run id is the empty string and its number 0.
    """

    __slots__ = ("_cipher", "_generation_id")

    def __init__(self, data_key: bytes, generation_id: GenerationId) -> None:
        """Derive the subkey."""
        subkey = blake2b(
            generation_id.encode(), key=data_key, digest_size=DATA_KEY_BYTES, person=_PURPOSE
        )
        self._cipher = AESGCM(subkey.digest())
        self._generation_id = generation_id

    def seal(self, event_type: str, run_id: str, number: int, plaintext: bytes) -> bytes:
        """The nonce followed by the ciphertext and its tag."""
        nonce = os.urandom(_NONCE_BYTES)
        place = f"{event_type}/{self._generation_id}/{run_id}/{number}".encode()
        return nonce + self._cipher.encrypt(nonce, plaintext, place)

    def open(self, event_type: str, run_id: str, number: int, sealed: bytes) -> bytes:
        """What was sealed at this place; SealBroken for anything else."""
        try:
            place = f"{event_type}/{self._generation_id}/{run_id}/{number}".encode()
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
        except (InvalidTag, ValueError) as error:
            raise SealBroken("sealed content does not open here") from error
