"""What a command asked for, as a hash to stand beside the key that makes it idempotent."""

import hashlib
from functools import lru_cache
from typing import Any

import msgspec

from shared.events.envelope import Event, type_of

_encoder = msgspec.json.Encoder(order="deterministic")


def input_hash(command: Event) -> bytes:
    """SHA-256 of a command's type and fields.

    Fields at their default do not count, so that one added later leaves old hashes as they are.
    """
    fields = {
        name: value
        for name, default in _defaults(type(command))
        if (value := getattr(command, name)) != default
    }
    return hashlib.sha256(_encoder.encode((type_of(type(command)), fields))).digest()


@lru_cache(maxsize=64)
def _defaults(command: type[Event]) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.default) for field in msgspec.structs.fields(command))
