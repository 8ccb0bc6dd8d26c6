"""Frames of `application/vnd.amazon.eventstream`, each with the checksums of prelude and message.

Format: docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html (event stream encoding).
"""

import binascii
import struct
from collections.abc import Mapping
from typing import Any, Final

import msgspec

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
_STRING: Final = 7
_AROUND_BYTES: Final = 16
"""Two lengths and two checksums of four bytes each."""


def event(kind: str, payload: Mapping[str, Any]) -> bytes:
    """A frame that tells something."""
    return _frame({":event-type": kind, ":message-type": "event"}, payload)


def exception(kind: str, payload: Mapping[str, Any]) -> bytes:
    """A frame that ends the stream with an exception."""
    return _frame({":exception-type": kind, ":message-type": "exception"}, payload)


def _frame(headers: Mapping[str, str], payload: Mapping[str, Any]) -> bytes:
    told = b"".join(
        _header(name, value)
        for name, value in {**headers, ":content-type": "application/json"}.items()
    )
    body = msgspec.json.encode(payload)
    prelude = struct.pack("!II", _AROUND_BYTES + len(told) + len(body), len(told))
    prelude += struct.pack("!I", binascii.crc32(prelude))
    message = prelude + told + body
    return message + struct.pack("!I", binascii.crc32(message))


def _header(name: str, value: str) -> bytes:
    told = value.encode()
    return bytes([len(name)]) + name.encode() + struct.pack("!BH", _STRING, len(told)) + told
