"""Customers' content on its way through Kafka: AES-256-GCM, a subkey for each run and direction.

Vault makes a data key for each ingress process. From it keyed BLAKE2b (RFC 7693; docs/adr/0008 says
why not HKDF) derives a subkey for one generation, run and direction, so that no key ever meets a
nonce twice in practice: nonces are random, 96 bits, and a subkey seals at most a generation's
frames. The event's type, the generation,
the run and the frame's number are authenticated, so a frame cannot be moved, swapped or replayed
elsewhere.
"""

import os
from hashlib import blake2b
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import OpenRouteError
from shared.ids import GenerationId

Direction = Literal["request", "reply"]

DATA_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_PURPOSE: Final = b"openroute wire"
"""Keeps these subkeys apart from anything else that could ever be derived from a data key."""


class SealBroken(OpenRouteError):  # noqa: N818 - it says what happened
    """The sealed bytes were not made with this key for this place, or were changed."""


class Seal:
    """Seals and opens what belongs to one generation, run and direction."""

    __slots__ = ("_cipher", "_place")

    def __init__(
        self, data_key: bytes, *, generation_id: GenerationId, run_id: str, direction: Direction
    ) -> None:
        """Derive the subkey. A request has no run yet: its run id is the empty string."""
        place = f"{generation_id}/{run_id}/{direction}".encode()
        self._cipher = AESGCM(
            blake2b(place, key=data_key, digest_size=DATA_KEY_BYTES, person=_PURPOSE).digest()
        )
        self._place = place

    def seal(self, event_type: str, number: int, plaintext: bytes) -> bytes:
        """The nonce followed by the ciphertext and its tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plaintext, self._bound_to(event_type, number))

    def open(self, event_type: str, number: int, sealed: bytes) -> bytes:
        """What was sealed at this place; SealBroken for anything else."""
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, self._bound_to(event_type, number))
        except (InvalidTag, ValueError) as error:
            raise SealBroken("sealed content does not open here") from error

    def _bound_to(self, event_type: str, number: int) -> bytes:
        return b"%s/%s/%d" % (event_type.encode(), self._place, number)
