"""Provider slug → the format of its keys. To add a provider whose key is a string, do nothing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from services.key_vault.domain.formats.azure import parse_azure
from services.key_vault.domain.formats.bedrock import parse_bedrock
from services.key_vault.domain.formats.parsed_secret import Format
from services.key_vault.domain.formats.plain_string import parse_string
from services.key_vault.domain.formats.vertex import parse_vertex
from services.key_vault.domain.refusals import invalid
from services.key_vault.domain.text import is_provider_slug
from shared.events.credential_secrets import AMAZON_BEDROCK, AZURE, GOOGLE_VERTEX
from shared.events.envelope import Refused

FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {AZURE: parse_azure, AMAZON_BEDROCK: parse_bedrock, GOOGLE_VERTEX: parse_vertex}
)
"""Those of shared/events/credential_secrets.py's PROVIDERS_WITH_A_FORMAT."""


def format_of(provider: str) -> Format | Refused:
    """How this provider's keys look."""
    if not is_provider_slug(provider):
        return invalid("provider", "provider must be a slug like openai or azure.")
    return FORMATS.get(provider, parse_string)
