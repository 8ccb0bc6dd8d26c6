"""The only way out to addresses that people choose, and the only place that makes a client session.

A provider's address can come from whoever saves a credential (an Azure `endpoint_url`), so every
call goes through two gates:

1. the text of the address, once for each address: https, port 443, no user, a plausible host name;
2. the socket, for every candidate address of every connection, whatever a name resolved to and
   however a literal was written: public addresses only. Connections that are reused passed when
   they were opened.

Redirects are not followed, proxies of the environment are not used, cookies are not kept, answers
are not decompressed (so that a small answer cannot unfold), TLS is verified. `host:port` pairs that
the operator allows may be http and any address; they are reached through a session of their own.
"""

import asyncio
import errno
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.typedefs import LooseHeaders
from yarl import URL

CONNECT_SECONDS: Final = 10.0
"""A connection must stand within this: name, TCP and TLS."""
STREAM_SILENCE_SECONDS: Final = 120.0
"""The longest that a stream may say nothing, before its first byte or between two."""
PLAIN_SECONDS: Final = 600.0
"""The longest that an answer which is not streamed may take; callers have tighter deadlines."""
CONNECTIONS_MAX: Final = 8192
"""More than the calls that a dispatcher has in flight, so that nobody waits for a connection."""
CONNECTIONS_PER_HOST_MAX: Final = 4096
KEEP_ALIVE_SECONDS: Final = 30.0
"""Shorter than any provider's own, so that a reused connection is not just being closed."""
NAMES_SECONDS: Final = 60
"""How long a resolved name is kept."""
URL_CHARACTERS_MAX: Final = 2048
URLS_REMEMBERED_MAX: Final = 16_384
"""Checked addresses that are kept, so that the check costs nothing the next time."""

PLAIN: Final = aiohttp.ClientTimeout(
    total=PLAIN_SECONDS, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS
)
STREAM: Final = aiohttp.ClientTimeout(
    total=None,
    connect=CONNECT_SECONDS,
    sock_connect=CONNECT_SECONDS,
    sock_read=STREAM_SILENCE_SECONDS,
)

_HTTPS_PORT: Final = 443
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PRIVATE_NAMES: Final = (".local", ".localhost", ".internal", ".localdomain", ".home.arpa")
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Public by the registries, yet not meant for us: protocol assignments (a cloud's metadata lives
# there), 6to4 relays, Azure's host agent; documentation and segment routing, which Python 3.11
# does not know yet.
_NOT_FOR_US = (
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("192.88.99.0/24"),
    ipaddress.ip_network("168.63.129.16/32"),
    ipaddress.ip_network("3fff::/20"),
)


class EgressForbidden(Exception):  # noqa: N818 - the name is what happened
    """The address is not one that we call. The message says why and does not repeat it."""


class AddressForbidden(OSError):  # noqa: N818 - the name is what happened
    """A connection was about to be opened to an address that is not public."""


class AnswerTooLarge(Exception):  # noqa: N818 - the name is what happened
    """More bytes came than were allowed."""


@dataclass(frozen=True, slots=True)
class _Target:
    url: URL
    session: aiohttp.ClientSession


class Egress:
    """Sends requests out. Built by `open_egress`."""

    def __init__(
        self,
        *,
        public: aiohttp.ClientSession,
        allowed: aiohttp.ClientSession,
        allow: frozenset[str],
    ) -> None:
        """`allow` are the `host:port` that go through the session `allowed`, unguarded."""
        self._public = public
        self._allowed = allowed
        self._allow = frozenset(pair.lower() for pair in allow)
        self._targets = lru_cache(maxsize=URLS_REMEMBERED_MAX)(self._target)

    def refusal(self, url: str) -> str | None:
        """Why this address would be refused by its text alone; None when it would not."""
        target = self._targets(url)
        return target if isinstance(target, str) else None

    async def post(
        self, url: str, *, headers: LooseHeaders, body: bytes, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Send a request and return once the answer's headers are there; `limits` PLAIN or STREAM.

        The caller closes the response; a cancellation meanwhile closes the connection. Raises
        EgressForbidden, aiohttp.ClientError, TimeoutError.
        """
        target = self._allowed_target(url)
        return await target.session.post(
            target.url, data=body, headers=headers, timeout=limits, allow_redirects=False
        )

    async def get(
        self, url: str, *, headers: LooseHeaders, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Ask without a body; otherwise as `post`."""
        target = self._allowed_target(url)
        return await target.session.get(
            target.url, headers=headers, timeout=limits, allow_redirects=False
        )

    def _allowed_target(self, url: str) -> "_Target":
        target = self._targets(url)
        if isinstance(target, str):
            raise EgressForbidden(target)
        return target

    def _target(self, url: str) -> _Target | str:
        try:
            parsed = _parse(url)
            pair = f"[{parsed.host}]" if ":" in (parsed.host or "") else parsed.host
            if f"{pair}:{parsed.port}" in self._allow:
                return _Target(_as_it_stands(url, parsed), self._allowed)
            _check_public(parsed)
        except EgressForbidden as forbidden:
            return str(forbidden)
        return _Target(_as_it_stands(url, parsed), self._public)


@asynccontextmanager
async def open_egress(
    *, allow: frozenset[str] = frozenset(), resolver: AbstractResolver | None = None
) -> AsyncIterator[Egress]:
    """Open the way out; leaving closes every connection. `resolver` None asks the system."""
    async with (
        _session(_guarded_socket, resolver) as public,
        _session(None, resolver) as allowed,
    ):
        yield Egress(public=public, allowed=allowed, allow=allow)


async def read_whole(response: aiohttp.ClientResponse, *, bytes_max: int) -> bytes:
    """The body, or AnswerTooLarge."""
    told = response.content_length
    if told is not None:
        if told > bytes_max:
            raise AnswerTooLarge
        return await response.read()
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > bytes_max:
            raise AnswerTooLarge
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def ends_within(response: aiohttp.ClientResponse, *, seconds: float) -> bool:
    """Whether the body comes to its end in time, so that its connection can serve again."""
    content = response.content
    if content.at_eof():
        return True
    try:
        async with asyncio.timeout(seconds):
            return not await content.readany()
    except (aiohttp.ClientError, TimeoutError):
        return False


def is_public(address: str) -> bool:
    """Whether an IP address, as `getaddrinfo` writes it, is one that the world can reach."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    plain = _unwrapped(parsed)
    if isinstance(plain, IPv6Address) and plain not in _IPV6_UNICAST:
        return False
    if not plain.is_global or plain.is_multicast or plain.is_reserved:
        return False
    return not any(plain in network for network in _NOT_FOR_US)


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), else itself."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return inner
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _guarded_socket(candidate: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, address = candidate
    if not is_public(str(address[0])):
        # One text for all, so that the connector hands it on as it is when every candidate is bad.
        raise AddressForbidden(errno.EACCES, "not a public address")
    return socket.socket(family=family, type=kind, proto=protocol)


def _session(
    socket_factory: aiohttp.SocketFactoryType | None, resolver: AbstractResolver | None
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=CONNECTIONS_MAX,
            limit_per_host=CONNECTIONS_PER_HOST_MAX,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            ttl_dns_cache=NAMES_SECONDS,
            resolver=resolver,
            socket_factory=socket_factory,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        timeout=PLAIN,
        auto_decompress=False,
        trust_env=False,
    )


_HEADERS: Mapping[str, str] = {"User-Agent": "openroute", "Accept-Encoding": "identity"}


def _parse(url: str) -> URL:
    """The address as the client library understands it, so that nobody reads it differently."""
    if len(url) > URL_CHARACTERS_MAX:
        raise EgressForbidden("the address is too long")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise EgressForbidden("the address has characters that do not belong there")
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError:
        raise EgressForbidden("the address cannot be read") from None
    if parsed.scheme not in {"https", "http"} or not parsed.host or not port:
        raise EgressForbidden("the address must begin with https:// and a host")
    # The library drops an empty user, so the text itself is looked at.
    if parsed.user is not None or "@" in url.partition("://")[2].partition("/")[0]:
        raise EgressForbidden("the address must not hold a user or password")
    if "#" in url:
        raise EgressForbidden("the address must not hold a fragment")
    return parsed


def _as_it_stands(url: str, parsed: URL) -> URL:
    """The same address without the library's own quoting, unless that would change the host."""
    verbatim = URL(url, encoded=True)
    same = (verbatim.scheme, verbatim.raw_host) == (parsed.scheme, parsed.raw_host)
    return verbatim if same else parsed


def _check_public(url: URL) -> None:
    if url.scheme != "https":
        raise EgressForbidden("the address must begin with https://")
    if url.port != _HTTPS_PORT:
        raise EgressForbidden("the address must use port 443")
    host = (url.raw_host or "").lower()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        _check_name(host)
    else:
        if not is_public(host):
            raise EgressForbidden("the address is not public")


def _check_name(host: str) -> None:
    labels = host.split(".")
    if len(labels) == 1 or not all(_LABEL.fullmatch(label) for label in labels):
        raise EgressForbidden("the address must name a host of the public internet")
    if host.endswith(_PRIVATE_NAMES) or labels[-1][0].isdigit():
        # A last label that begins with a digit is an IPv4 address in disguise (127.1, 0x7f.1).
        raise EgressForbidden("the address must name a host of the public internet")
