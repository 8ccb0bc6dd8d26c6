"""Nobody gets a key who cannot show a certificate for the name that was called."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.outbound.bedrock_client import BedrockApiKey
from services.dispatcher.outbound.bedrock_clients import open_bedrock_clients
from services.dispatcher.outbound.egress import open_egress
from services.dispatcher.outbound.providers.registry import open_providers
from shared.clock import SystemClock
from tests.contract.providers.builders import attempt, request, string_secret


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


class _Impostor:
    def __init__(self) -> None:
        self.port = 0
        self.heard = 0

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard += len(await reader.read(65_536))
        writer.close()


@pytest.fixture
async def impostor(tmp_path: Path) -> AsyncIterator[_Impostor]:
    listening = _Impostor()
    server = await asyncio.start_server(
        listening.listen, "127.0.0.1", 0, ssl=_self_signed(tmp_path)
    )
    async with server:
        listening.port = server.sockets[0].getsockname()[1]
        yield listening


async def test_an_impostor_is_told_nothing(impostor: _Impostor) -> None:
    pair = f"localhost:{impostor.port}"
    async with open_providers(
        endpoints={"openai": f"https://{pair}/v1"},
        egress_allow=frozenset({pair}),
        clock=SystemClock(),
    ) as opened:
        answer = await opened["openai"].complete(attempt(), string_secret(), request())
    assert answer == ProviderFailure(failure=FailureClass.UNREACHABLE)
    assert impostor.heard == 0


async def test_an_impostor_of_bedrock_is_told_nothing(impostor: _Impostor) -> None:
    pair = f"localhost:{impostor.port}"
    async with (
        open_egress(allow=frozenset({pair})) as egress,
        open_bedrock_clients(egress, endpoint_url=f"https://{pair}") as clients,
        clients.client(BedrockApiKey(api_key="ABSK-key", region="us-east-1")) as client,
    ):
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.converse(modelId="m", messages=[])
    assert impostor.heard == 0
