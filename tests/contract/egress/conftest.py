"""Somebody who listens where hostile addresses lead, and resolvers that lie."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override


@dataclass(slots=True)
class Listener:
    """Counts who connects, on the loopback addresses."""

    port: int = 0
    connections: int = 0

    def count(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


class LyingResolver(AbstractResolver):
    """Leads every name to the next of several lists of addresses, the last again and again.

    All answers name the listener's port, so that a connection which egress let through is counted.
    """

    def __init__(self, port: int, *answers: Sequence[str]) -> None:
        self._port = port
        self._answers = list(answers)
        self.asked = 0

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=self._port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    @override
    async def close(self) -> None:
        pass


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    counted = Listener()
    server = await asyncio.start_server(counted.count, "127.0.0.1", 0)
    async with server:
        counted.port = server.sockets[0].getsockname()[1]
        yield counted
