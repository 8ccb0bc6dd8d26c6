"""Where a client is, as far as proxies that we trust say so; and what it calls itself."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]

HOPS_MAX: Final = 20
USER_AGENT_CHARACTERS_MAX: Final = 200


def networks(value: str) -> Networks:
    """A setting's addresses and networks, separated by commas. Raises ValueError."""
    try:
        return tuple(ip_network(part.strip()) for part in value.split(","))
    except ValueError:
        raise ValueError(
            "must be addresses or networks like 10.0.0.0/8, several separated by commas"
        ) from None


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Networks) -> str | None:
    """The address nearest to us that is none of a trusted proxy's; None when there is no peer's.

    Each proxy writes whom it saw at the end of X-Forwarded-For, so what stands before an address
    that we do not trust is anybody's word. `forwarded_for` are the header's values in their order.
    """
    nearest = _parsed(peer or "")
    if nearest is None:
        return None
    hops = [hop for value in forwarded_for for hop in value.split(",")][-HOPS_MAX:]
    while hops and any(nearest in network for network in trusted):
        before = _parsed(hops.pop())
        if before is None:
            break
        nearest = before
    return str(nearest)


def shown_user_agent(header: str | None) -> str | None:
    """What a client calls itself, printable and cut to its limit."""
    return printable(header, USER_AGENT_CHARACTERS_MAX) if header else None


def printable(header: str, characters_max: int) -> str:
    """A header's value cut to a length, with a question mark for what is not printable ASCII."""
    shown = header[:characters_max]
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(character if " " <= character <= "~" else "?" for character in shown)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
