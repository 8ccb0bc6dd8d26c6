"""An Azure endpoint's URL: which ones a key may be sent to.

A provider key goes to hosts of Azure alone, or to what the operator named in EGRESS_ALLOW; so a
pasted URL cannot make the dispatcher speak to a machine of the inner network. The dispatcher checks
the address again when it connects.
"""

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from services.key_vault.domain.egress import EgressAllowed
from services.key_vault.domain.text import is_visible_ascii

CHARACTERS_MAX: Final = 2048
_ENDING: Final = "/chat/completions"
_VERSION: Final = "api-version"
_VERSION_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,39}")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}")
_PORTS: Final = {"https": 443, "http": 80}
AZURE_SUFFIXES: Final = (
    ".openai.azure.com",
    ".services.ai.azure.com",
    ".cognitiveservices.azure.com",
    ".models.ai.azure.com",
    ".inference.ml.azure.com",
    ".openai.azure.us",
    ".services.ai.azure.us",
    ".cognitiveservices.azure.us",
    ".models.ai.azure.us",
    ".inference.ml.azure.us",
    ".azure.cn",
)
"""Hosts of Azure's AI services: worldwide, US government, China."""
_NO_AZURE_HOST: Final = (
    "must be at a host of Azure, such as <resource>.openai.azure.com or "
    "<resource>.services.ai.azure.com"
)


def problem_of_endpoint(url: str, allowed: EgressAllowed) -> str | None:
    """Why a URL can be no Azure endpoint, without repeating it; None when it is right."""
    problem = _problem_of_text(url)
    if problem is not None:
        return problem
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be a URL like https://<resource>.openai.azure.com/..."
    return (
        _problem_of_address(parts, port, allowed)
        or _problem_of_path(parts.path)
        or _problem_of_query(parts.query)
    )


def _problem_of_text(url: str) -> str | None:
    if not url:
        return "must not be empty"
    if len(url) > CHARACTERS_MAX:
        return f"must not be longer than {CHARACTERS_MAX} characters"
    if "<" in url or ">" in url:
        return "still has a placeholder in <...>; put your own values in"
    if not is_visible_ascii(url) or "\\" in url:
        return "must be printable ASCII without spaces and backslashes"
    if "#" in url:
        return "must not have a fragment (#...)"
    return None


def _problem_of_address(parts: SplitResult, port: int | None, allowed: EgressAllowed) -> str | None:
    if parts.scheme not in _PORTS or not parts.hostname:
        return "must begin with https:// and a host"
    if "@" in parts.netloc:
        return "must not have a user name or password in it"
    if _host_port(parts, port) in allowed:
        return None
    if parts.scheme != "https":
        return "must begin with https://"
    if port not in {None, _PORTS["https"]}:
        return "must not name a port"
    is_azure = _HOST.fullmatch(parts.hostname) and parts.hostname.endswith(AZURE_SUFFIXES)
    return None if is_azure else _NO_AZURE_HOST


def _host_port(parts: SplitResult, port: int | None) -> str:
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{_PORTS[parts.scheme] if port is None else port}"


def _problem_of_path(path: str) -> str | None:
    if not path.endswith(_ENDING):
        return f"must end in {_ENDING} before the question mark"
    segments = path[1:].split("/")
    if "%" in path or not {".", "..", ""}.isdisjoint(segments):
        return "must have a plain path, without empty or dot segments and percent signs"
    return None


def _problem_of_query(query: str) -> str | None:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        return f"must have a query like ?{_VERSION}=2024-08-01-preview"
    names = [name for name, _ in pairs]
    if _VERSION not in names:
        return f"must say the API version, as in ?{_VERSION}=2024-08-01-preview"
    if names != [_VERSION]:
        return f"must have nothing but {_VERSION} after the question mark; a key goes to api_key"
    if _VERSION_VALUE.fullmatch(pairs[0][1]) is None:
        return f"must give {_VERSION} a value like 2024-08-01-preview"
    return None
