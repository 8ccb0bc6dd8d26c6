"""The guard at the way out: hostile addresses are refused, and nothing is ever sent to one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from services.dispatcher.outbound.egress import PLAIN, AddressForbidden, Egress, open_egress
from services.dispatcher.outbound.egress_addresses import EgressForbidden, authority_of, is_public

_SERVICES = Path(__file__).parents[4] / "services"


class _NamesThatLie(AbstractResolver):
    """Answers with these addresses, whatever name is asked for."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    @override
    async def close(self) -> None:
        pass


class _Listener:
    """Counts who connects, on the loopback address and a port of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0

    def count(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[_Listener]:
    counted = _Listener(0)
    server = await asyncio.start_server(counted.count, "127.0.0.1", 0)
    async with server:
        counted.port = server.sockets[0].getsockname()[1]
        yield counted


async def _post(egress: Egress, url: str, hosts: frozenset[str] | None = None) -> None:
    """Post to an address with a credential that is for its host, unless `hosts` says otherwise."""
    named = _host_of(url) if hosts is None else hosts
    response = await egress.post(url, hosts=named, headers={}, body=b"{}", limits=PLAIN)
    response.close()


def _host_of(url: str) -> frozenset[str]:
    try:
        return frozenset({authority_of(url)})
    except EgressForbidden:
        return frozenset()


_HOSTILE = [
    "http://api.openai.com/v1/chat/completions",
    "ftp://api.openai.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "//api.openai.com/",
    "api.openai.com",
    "",
    "https://",
    "https:///chat/completions",
    "https://127.0.0.1/",
    "https://127.0.0.1:443/",
    "https://127.1/",
    "https://0x7f000001/",
    "https://0x7f.0x1/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.7/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.100.100.200/latest/meta-data/",
    "https://169.254.169.254/latest/meta-data/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::127.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fc00::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://localhost/",
    "https://localhost./",
    "https://vault/",
    "https://vault.localhost/",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://printer.local/",
    "https://api.openai.com./",
    "https://api.openai.com:8200/",
    "https://api.openai.com:0/",
    "https://api.openai.com:99999/",
    "https://user@api.openai.com/",
    "https://user:password@api.openai.com/",
    "https://@api.openai.com/",
    "https://api.openai.com#@127.0.0.1/",
    "https://api.openai.com\\@127.0.0.1/",
    "https://127.0.0.1\\.api.openai.com/",
    "https://api.openai.com/\r\nHost: x",
    "https://api.openai.com/ x",
    "https://exa%6dple.com/",
    "https://\N{CIRCLED DIGIT ONE}27.0.0.1/",
    "https://127\N{IDEOGRAPHIC FULL STOP}0.0.1/",
    "https://-bad-.example.com/",
    "https://a..example.com/",
    "https://example.com/" + "x" * 3000,
]


@pytest.mark.parametrize("url", _HOSTILE)
async def test_a_hostile_address_is_refused_by_its_text(url: str) -> None:
    async with open_egress(resolver=_NamesThatLie()) as egress:
        assert egress.refusal(url) is not None
        with pytest.raises(EgressForbidden):
            await _post(egress, url)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nothing_connects_to_a_listener_that_nobody_allowed(
    listener: _Listener, scheme: str, host: str
) -> None:
    async with open_egress() as egress:
        with pytest.raises(EgressForbidden):
            await _post(egress, f"{scheme}://{host}:{listener.port}/")
    assert listener.connections == 0


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["168.63.129.16"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["fd00::1"],
        ["127.0.0.1", "10.0.0.7", "::1"],
    ],
)
async def test_a_public_name_that_leads_inside_is_refused_at_the_socket(
    addresses: list[str],
) -> None:
    async with open_egress(resolver=_NamesThatLie(*addresses)) as egress:
        url = "https://example.openai.azure.com/chat/completions"
        assert egress.refusal(url) is None
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await _post(egress, url)
        assert isinstance(refused.value.os_error, AddressForbidden)


async def test_what_the_operator_allows_may_be_http_and_inside(listener: _Listener) -> None:
    pair = f"127.0.0.1:{listener.port}"
    async with open_egress(allow=frozenset({pair})) as egress:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await _post(egress, f"http://{pair}/")
        with pytest.raises(EgressForbidden):
            await _post(egress, f"http://127.0.0.1:{listener.port + 1}/")
        with pytest.raises(EgressForbidden):
            await _post(egress, f"http://user@{pair}/")
    assert listener.connections == 1


async def test_allowing_one_port_of_a_name_opens_no_other() -> None:
    async with open_egress(allow=frozenset({"Simulator:9300", "[::1]:9300"})) as egress:
        assert egress.refusal("http://simulator:9300/v1") is None
        assert egress.refusal("http://SIMULATOR:9300/v1") is None
        assert egress.refusal("http://[::1]:9300/v1") is None
        assert egress.refusal("http://simulator:9301/v1") is not None
        assert egress.refusal("http://simulator/v1") is not None
        assert egress.refusal("http://[::1]:9301/v1") is not None


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1/chat/completions",
        "https://api.openai.com:443/v1/chat/completions",
        "https://example-1.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-08-01",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]/",
        "HTTPS://API.OpenAI.com/v1",
    ],
)
async def test_addresses_of_the_public_internet_pass(url: str) -> None:
    async with open_egress(resolver=_NamesThatLie()) as egress:
        assert egress.refusal(url) is None


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::101:101", True),
        ("2002:101:101::", True),
        ("192.0.0.9", False),
        ("192.88.99.1", False),
        ("198.18.0.1", False),
        ("240.0.0.1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("fe80::1%eth0", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_public_addresses_are_told_from_all_others(address: str, public: bool) -> None:  # noqa: FBT001
    assert is_public(address) is public


@pytest.mark.parametrize("answers", [["127.0.0.1", "1.1.1.1"], ["1.1.1.1", "10.0.0.7"]])
async def test_a_name_is_refused_when_one_of_its_answers_is_not_public(answers: list[str]) -> None:
    async with open_egress(resolver=_NamesThatLie(*answers)) as egress:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await _post(egress, "https://example.openai.azure.com/")
        assert isinstance(refused.value.os_error, AddressForbidden)


async def test_a_credential_goes_to_no_host_that_it_is_not_for(listener: _Listener) -> None:
    pair = f"127.0.0.1:{listener.port}"
    async with open_egress(allow=frozenset({pair})) as egress:
        for hosts in (
            [],
            ["api.openai.com:443"],
            [f"127.0.0.1:{listener.port + 1}"],
            ["127.0.0.1"],
        ):
            with pytest.raises(EgressForbidden, match="not for this host"):
                await _post(egress, f"http://{pair}/", frozenset(hosts))
        assert listener.connections == 0
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await _post(egress, f"http://{pair}/", frozenset({"api.openai.com:443", pair}))
    assert listener.connections == 1


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.openai.com/v1", "api.openai.com:443"),
        ("HTTPS://API.OpenAI.com:443/v1?x=y", "api.openai.com:443"),
        ("http://simulator:9300/v1", "simulator:9300"),
        ("http://[::1]:9300/v1", "[::1]:9300"),
        ("https://xn--pple-43d.com/", "xn--pple-43d.com:443"),
    ],
)
def test_the_host_that_an_address_names(url: str, host: str) -> None:
    assert authority_of(url) == host
