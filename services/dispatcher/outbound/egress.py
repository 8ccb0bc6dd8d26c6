"""The only way out to addresses that people choose, and the only place that makes a client session.

A provider's address can come from whoever saves a credential (an Azure `endpoint_url`), so every
call goes through three gates:

1. the text of the address, once for each address: https, port 443, no user, a plausible host name;
2. the credential: each call says which `host:port` its credential is for (the credential's format
   names them, or the operator does with PROVIDER_ENDPOINTS), and goes nowhere else;
3. the connection, for every candidate address of every one: a name one of whose answers is not
   public is refused, and so is the socket to any address that is not, whatever a name resolved to
   and however a literal was written. Connections that are reused passed when they were opened.

Redirects are not followed, proxies of the environment are not used, cookies are not kept, answers
are not decompressed (so that a small answer cannot unfold), TLS is verified and cannot be told not
to be. `host:port` pairs that the operator allows may be http and any address; they are reached
through a session of their own. botocore sends through here too (`egress_botocore.py`).
"""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.typedefs import LooseHeaders
from typing_extensions import override
from yarl import URL

from services.dispatcher.outbound.egress_addresses import (
    URLS_REMEMBERED_MAX,
    EgressForbidden,
    as_it_stands,
    authority,
    check_public,
    is_public,
    parse,
)

CONNECT_SECONDS: Final = 10.0
"""A connection must stand within this: name, TCP and TLS."""
STREAM_SILENCE_SECONDS: Final = 120.0
"""The longest that a stream may say nothing, before its first byte or between two."""
STREAM_SECONDS: Final = 3600.0
"""The longest that a stream may last, however steadily it drips; callers have tighter deadlines."""
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""The largest whole answer that is taken; what ingress can be sent is a little more."""
ERROR_BYTES_MAX: Final = 64 * 1024
"""The largest body of an error that is read."""
CONNECTIONS_MAX: Final = 8192
"""More than the calls that a dispatcher has in flight, so that nobody waits for a connection."""
CONNECTIONS_PER_HOST_MAX: Final = 4096
KEEP_ALIVE_SECONDS: Final = 30.0
"""Shorter than any provider's own, so that a reused connection is not just being closed."""
NAMES_SECONDS: Final = 60
"""How long a resolved name is kept."""

PLAIN: Final = aiohttp.ClientTimeout(
    total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS
)
"""For answers that are not streamed: whoever waits for one stands in a time limit of its own, and a
second one by aiohttp, with a timer of the loop for each call, costs a twentieth of the call."""
STREAM: Final = aiohttp.ClientTimeout(
    total=STREAM_SECONDS,
    connect=CONNECT_SECONDS,
    sock_connect=CONNECT_SECONDS,
    sock_read=STREAM_SILENCE_SECONDS,
)

_HEADERS: Final[Mapping[str, str]] = {"User-Agent": "openroute", "Accept-Encoding": "identity"}


class AddressForbidden(OSError):  # noqa: N818 - the name is what happened
    """A connection was about to be opened to an address that is not public."""

    def __init__(self) -> None:
        # One text for all, so that the connector hands it on as it is when every candidate is bad.
        super().__init__(errno.EACCES, "not a public address")


class AnswerTooLarge(Exception):  # noqa: N818 - the name is what happened
    """More bytes came than were allowed."""


@dataclass(frozen=True, slots=True)
class _Target:
    url: URL
    authority: str
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

    def post(
        self,
        url: str,
        *,
        hosts: frozenset[str],
        headers: LooseHeaders,
        body: bytes,
        limits: aiohttp.ClientTimeout,
    ) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        """`send` a POST."""
        return self.send("POST", url, hosts=hosts, headers=headers, body=body, limits=limits)

    async def send(
        self,
        method: str,
        url: str,
        *,
        hosts: frozenset[str],
        headers: LooseHeaders,
        body: bytes | None,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send a request and return once the answer's headers are there; `limits` PLAIN or STREAM.

        `hosts` are the `host:port` (`egress_addresses.authority_of`) that the credential in it is
        for. The caller closes the response; a cancellation meanwhile closes the connection. Raises
        EgressForbidden, aiohttp.ClientError, TimeoutError.
        """
        target = self._targets(url)
        if isinstance(target, str):
            raise EgressForbidden(target)
        if target.authority not in hosts:
            raise EgressForbidden("the credential is not for this host")
        return await target.session.request(
            method,
            target.url,
            data=body,
            headers=headers,
            timeout=limits,
            allow_redirects=False,
        )

    def _target(self, url: str) -> _Target | str:
        try:
            parsed = parse(url)
            pair = authority(parsed)
            if pair in self._allow:
                return _Target(as_it_stands(url, parsed), pair, self._allowed)
            check_public(parsed)
        except EgressForbidden as forbidden:
            return str(forbidden)
        return _Target(as_it_stands(url, parsed), pair, self._public)


@asynccontextmanager
async def open_egress(
    *, allow: frozenset[str] = frozenset(), resolver: AbstractResolver | None = None
) -> AsyncIterator[Egress]:
    """Open the way out; leaving closes every connection. `resolver` None asks the system."""
    names = resolver or aiohttp.DefaultResolver()
    try:
        async with (
            _session(_PublicNames(names), _guarded_socket) as public,
            _session(names, None) as allowed,
        ):
            yield Egress(public=public, allowed=allowed, allow=allow)
    finally:
        await names.close()


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


class _PublicNames(AbstractResolver):
    """Refuses a name as soon as one of its addresses is not public: such a name is a trap."""

    def __init__(self, names: AbstractResolver) -> None:
        self._names = names

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = await self._names.resolve(host, port, family)
        if not all(is_public(answer["host"]) for answer in answers):
            raise AddressForbidden
        return answers

    @override
    async def close(self) -> None:
        """The resolver behind it is closed by whoever opened it."""


def _guarded_socket(candidate: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, address = candidate
    if not is_public(str(address[0])):
        raise AddressForbidden
    return socket.socket(family=family, type=kind, proto=protocol)


def _session(
    resolver: AbstractResolver, socket_factory: aiohttp.SocketFactoryType | None
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=CONNECTIONS_MAX,
            limit_per_host=CONNECTIONS_PER_HOST_MAX,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            ttl_dns_cache=NAMES_SECONDS,
            resolver=resolver,
            socket_factory=socket_factory,
            ssl=True,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        timeout=PLAIN,
        auto_decompress=False,
        trust_env=False,
    )
