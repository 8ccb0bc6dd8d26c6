"""Which addresses beside public https the operator allows (EGRESS_ALLOW)."""

from typing import TypeAlias

EgressAllowed: TypeAlias = frozenset[str]
"""`host:port` in lower case; an IPv6 address stands in brackets."""


def egress_allowed(entries: tuple[str, ...]) -> EgressAllowed:
    """The setting's entries in the form in which they are compared."""
    return frozenset(entry.lower() for entry in entries)
