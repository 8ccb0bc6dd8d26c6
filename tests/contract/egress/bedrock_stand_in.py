"""A stand-in for Bedrock's runtime that keeps what it was asked, to look at each byte of it.

It says what it is told to; the simulator is the one that is strict.
"""

import binascii
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from services.dispatcher.outbound.bedrock_client import AwsCredentials
from tests.contract.providers.handwritten import Handwritten, running_handwritten

ANSWER: Final = {
    "output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
}
ASKED: Final = {
    "modelId": "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude:0",
    "messages": [{"role": "user", "content": [{"text": "hi"}]}],
}


@asynccontextmanager
async def running_bedrock() -> AsyncIterator[Handwritten]:
    async with running_handwritten() as server:
        server.pieces = [msgspec.json.encode(ANSWER)]
        server.answer_headers = {"Content-Type": "application/json"}
        yield server


def signature_of(
    server: Handwritten, number: int, keys: AwsCredentials, *, url: str | None = None
) -> str:
    """The Authorization header that the kept request must have, by botocore's own reckoning."""
    headers = server.headers[number]
    request = AWSRequest(
        method="POST", url=(url or server.url) + server.paths[number], data=server.bodies[number]
    )
    signed = headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    for name in headers:
        if name.lower() in signed and name.lower() != "host":
            request.headers[name] = headers[name]
    signer = SigV4Auth(
        Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token),
        "bedrock",
        keys.region,
    )
    at = headers["X-Amz-Date"]
    request.context["timestamp"] = at
    canonical = signer.canonical_request(request)
    text = signer.string_to_sign(request, canonical)
    return (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{signer.credential_scope(request)}, "
        f"SignedHeaders={';'.join(signed)}, Signature={signer.signature(text, request)}"
    )


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of an event stream: `vnd.amazon.eventstream`, with its two checksums."""

    event_type: str
    payload: bytes

    def encode(self) -> bytes:
        def header(name: str, value: str) -> bytes:
            return (
                bytes([len(name)])
                + name.encode()
                + b"\x07"
                + struct.pack("!H", len(value))
                + value.encode()
            )

        headers = (
            header(":message-type", "event")
            + header(":event-type", self.event_type)
            + header(":content-type", "application/json")
        )
        total = 16 + len(headers) + len(self.payload)
        prelude = struct.pack("!II", total, len(headers))
        prelude += struct.pack("!I", binascii.crc32(prelude))
        whole = prelude + headers + self.payload
        return whole + struct.pack("!I", binascii.crc32(whole))
