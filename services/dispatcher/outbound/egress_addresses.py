"""Which addresses may be called: what their text must be, and which IP addresses are public."""

import ipaddress
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from yarl import URL

URL_CHARACTERS_MAX: Final = 2048
URLS_REMEMBERED_MAX: Final = 16_384
"""Addresses whose check is remembered, so that it costs nothing the next time."""

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


@lru_cache(maxsize=URLS_REMEMBERED_MAX)
def authority_of(url: str) -> str:
    """The `host:port` that an address would be called at, in lower case. Raises EgressForbidden."""
    return authority(parse(url))


def authority(parsed: URL) -> str:
    """The same of an address that is parsed; an IPv6 address stands in brackets."""
    host = (parsed.raw_host or "").lower()
    return f"[{host}]:{parsed.port}" if ":" in host else f"{host}:{parsed.port}"


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


def parse(url: str) -> URL:
    """The address as the client library understands it, so that nobody reads it differently."""
    if len(url) > URL_CHARACTERS_MAX:
        raise EgressForbidden("the address is too long")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise EgressForbidden("the address has characters that do not belong there")
    try:
        parsed = URL(url)
        # punycode is decoded here, and the library would do it again where nobody catches
        host, port = parsed.host, parsed.port
    except ValueError:
        raise EgressForbidden("the address cannot be read") from None
    if parsed.scheme not in {"https", "http"} or not host or not port:
        raise EgressForbidden("the address must begin with https:// and a host")
    # The library drops an empty user, so the text itself is looked at.
    if parsed.user is not None or "@" in url.partition("://")[2].partition("/")[0]:
        raise EgressForbidden("the address must not hold a user or password")
    if "#" in url:
        raise EgressForbidden("the address must not hold a fragment")
    return parsed


def as_it_stands(url: str, parsed: URL) -> URL:
    """The same address without the library's own quoting, unless that would change the host."""
    verbatim = URL(url, encoded=True)
    same = (verbatim.scheme, verbatim.raw_host) == (parsed.scheme, parsed.raw_host)
    return verbatim if same else parsed


def check_public(url: URL) -> None:
    """Raise EgressForbidden unless this is https to a host that may be public, by its text."""
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
