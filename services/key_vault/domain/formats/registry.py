"""Provider slug → the format of its keys. To add a provider whose key is a string, do nothing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from services.key_vault.domain.formats.azure import parse_azure
from services.key_vault.domain.formats.parsed_secret import Format
from services.key_vault.domain.formats.plain_string import parse_string
from services.key_vault.domain.refusals import invalid
from services.key_vault.domain.text import is_provider_slug
from shared.events.envelope import Refused

_FORMATS: Final[Mapping[str, Format]] = MappingProxyType({"azure": parse_azure})
_WITHOUT_ADAPTER: Final = frozenset({"amazon-bedrock", "google-vertex"})


def format_of(provider: str) -> Format | Refused:
    """How this provider's keys look."""
    if not is_provider_slug(provider):
        return invalid("provider", "provider must be a slug like openai or azure.")
    if provider in _WITHOUT_ADAPTER:
        return invalid("provider", "This installation has no adapter for this provider yet.")
    return _FORMATS.get(provider, parse_string)
