"""One Azure deployment: an address and a key of its own, for one model."""

import re
from typing import Any, Final

from services.key_vault.domain.egress import EgressAllowed
from services.key_vault.domain.formats.azure_endpoint import problem_of_endpoint
from services.key_vault.domain.formats.object_fields import Fields, read_strings
from services.key_vault.domain.formats.plain_string import problem_of_key
from services.key_vault.domain.refusals import invalid
from services.key_vault.domain.text import is_visible_ascii
from shared.events.credential_secrets import AzureDeploymentSecret
from shared.events.envelope import Refused

FIELDS: Final = Fields(required=("model_slug", "endpoint_url", "api_key", "model_id"))
OWN_FIELDS: Final = ("model_slug", "endpoint_url", "model_id")
"""Those that only a deployment has."""
SLUG_CHARACTERS_MAX: Final = 200
MODEL_ID_CHARACTERS_MAX: Final = 200
_SLUG: Final = re.compile(r"[A-Za-z0-9~][A-Za-z0-9._-]*(?:/[A-Za-z0-9._-]+)+(?::[a-z0-9-]+)?")


def read_deployment(
    element: Any, path: str, allowed: EgressAllowed
) -> AzureDeploymentSecret | Refused:
    """The deployment, or what is wrong with it; whether its model exists is looked up later."""
    given = read_strings(element, path, FIELDS)
    if isinstance(given, Refused):
        return given
    for name, value in given.items():
        problem = _problem_of(name, value, allowed)
        if problem is not None:
            return invalid(f"{path}.{name}", problem)
    return AzureDeploymentSecret(**given)


def _problem_of(name: str, value: str, allowed: EgressAllowed) -> str | None:
    match name:
        case "model_slug":
            if len(value) > SLUG_CHARACTERS_MAX or _SLUG.fullmatch(value) is None:
                return "model_slug must be a model of OpenRoute, like openai/gpt-4o."
        case "model_id":
            if not 0 < len(value) <= MODEL_ID_CHARACTERS_MAX or not is_visible_ascii(value):
                return (
                    "model_id must be the name of your deployment: 1 to "
                    f"{MODEL_ID_CHARACTERS_MAX} printable characters without spaces."
                )
        case "api_key":
            problem = problem_of_key(value)
            return None if problem is None else f"api_key: {problem}"
        case _:
            problem = problem_of_endpoint(value, allowed)
            return None if problem is None else f"endpoint_url {problem}."
    return None
