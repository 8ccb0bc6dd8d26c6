"""One whole Azure resource: its name, from which we make its address, and its key."""

import re
from typing import Any, Final

from services.key_vault.domain.formats.object_fields import Fields, read_strings
from services.key_vault.domain.formats.plain_string import problem_of_key
from services.key_vault.domain.refusals import invalid
from shared.events.credential_secrets import AzureResourceSecret, AzureResourceType
from shared.events.envelope import Refused

FIELDS: Final = Fields(required=("api_key", "resource_name"), optional=("resource_type",))
OWN_FIELDS: Final = ("resource_name", "resource_type")
"""Those that only a resource has."""
_TYPES: Final[dict[str, AzureResourceType]] = {"openai": "openai", "ai_foundry": "ai_foundry"}
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""It is the first label of the resource's host name, so letters are the same in either case."""


def read_resource(element: Any, path: str) -> AzureResourceSecret | Refused:
    """The resource, or what is wrong with it."""
    given = read_strings(element, path, FIELDS)
    if isinstance(given, Refused):
        return given
    problem = problem_of_key(given["api_key"])
    if problem is not None:
        return invalid(f"{path}.api_key", f"api_key: {problem}")
    name = given["resource_name"].lower()
    problem = _problem_of_name(name)
    if problem is not None:
        return invalid(f"{path}.resource_name", problem)
    resource_type = _TYPES.get(given.get("resource_type", "openai"))
    if resource_type is None:
        return invalid(
            f"{path}.resource_type",
            "resource_type must be openai (for <name>.openai.azure.com) or ai_foundry (for "
            "<name>.services.ai.azure.com).",
        )
    return AzureResourceSecret(
        resource_name=name, resource_type=resource_type, api_key=given["api_key"]
    )


def _problem_of_name(name: str) -> str | None:
    if _NAME.fullmatch(name):
        return None
    if "." in name or "/" in name:
        return (
            "resource_name must be the name alone, without https:// and without what follows it in "
            "<name>.openai.azure.com."
        )
    return (
        "resource_name must be the name of your Azure resource: 1 to 63 letters, digits and inner "
        "dashes."
    )
