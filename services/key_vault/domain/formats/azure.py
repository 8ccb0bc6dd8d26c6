"""Azure's format: one object, or an array of them, with four strings each.

The fields are `model_slug`, `endpoint_url`, `api_key` and `model_id`, and no others.
"""

import re
from typing import Any, Final

from services.key_vault.domain.egress import EgressAllowed
from services.key_vault.domain.formats.azure_endpoint import problem_of_endpoint
from services.key_vault.domain.formats.parsed_secret import KEY, ParsedSecret
from services.key_vault.domain.formats.plain_string import problem_of_key
from services.key_vault.domain.formats.strict_json import NotStrictJson, parse_json
from services.key_vault.domain.label import label_of_several
from services.key_vault.domain.refusals import invalid
from services.key_vault.domain.text import is_visible_ascii
from shared.events.credential_secrets import AzureDeploymentSecret, AzureSecret
from shared.events.credentials import Deployment
from shared.events.envelope import Refused
from shared.secret import Secret

DEPLOYMENTS_MAX: Final = 100
FIELDS: Final = ("model_slug", "endpoint_url", "api_key", "model_id")
SLUG_CHARACTERS_MAX: Final = 200
MODEL_ID_CHARACTERS_MAX: Final = 200
_SLUG: Final = re.compile(r"[A-Za-z0-9~][A-Za-z0-9._-]*(?:/[A-Za-z0-9._-]+)+(?::[a-z0-9-]+)?")
_AROUND: Final = " \t\r\n\ufeff"
"""White space and the byte order mark, with which some editors begin a file."""
_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_-]{0,31}")
"""Names that are shown when they are wrong; anything else might be a key in the wrong place."""


def parse_azure(pasted: Secret, allowed: EgressAllowed) -> ParsedSecret | Refused:
    """Read one deployment or an array of them; each model has one."""
    elements = _elements(pasted.reveal().strip(_AROUND))
    if isinstance(elements, Refused):
        return elements
    deployments: list[AzureDeploymentSecret] = []
    for path, element in elements:
        read = _read_deployment(element, path, allowed)
        if isinstance(read, Refused):
            return read
        deployments.append(read)
    return _repeated_model(deployments) or ParsedSecret(
        secret=AzureSecret(deployments=deployments),
        label=label_of_several([each.api_key for each in deployments]),
        deployments=tuple(
            Deployment(model_slug=each.model_slug, model_id=each.model_id) for each in deployments
        ),
    )


def _elements(text: str) -> list[tuple[str, Any]] | Refused:
    """What stands for deployments, each with its path."""
    if not text.startswith(("{", "[")):
        return invalid(
            KEY, f"Azure takes a JSON object, or an array of them, with {', '.join(FIELDS)}."
        )
    try:
        value = parse_json(text)
    except NotStrictJson as error:
        return invalid(KEY, str(error))
    if not isinstance(value, list):
        return [(KEY, value)]
    if not value:
        return invalid(KEY, "The array is empty; it needs at least one deployment.")
    if len(value) > DEPLOYMENTS_MAX:
        return invalid(KEY, f"The array has more than {DEPLOYMENTS_MAX} deployments.")
    return [(f"{KEY}[{number}]", element) for number, element in enumerate(value)]


def _read_deployment(
    element: Any, path: str, allowed: EgressAllowed
) -> AzureDeploymentSecret | Refused:
    if not isinstance(element, dict):
        return invalid(path, f"Must be an object with {', '.join(FIELDS)}.")
    missing = [name for name in FIELDS if name not in element]
    unknown = [name for name in element if name not in FIELDS]
    # a misspelt field is missing and unknown at once, and its own name says more
    if unknown:
        return _refuse_unknown(unknown[0], path)
    if missing:
        return invalid(f"{path}.{missing[0]}", f"Missing: {', '.join(missing)}.")
    for name in FIELDS:
        value = element[name]
        if not isinstance(value, str):
            return invalid(f"{path}.{name}", f"{name} must be a string.")
        problem = _problem_of(name, value, allowed)
        if problem is not None:
            return invalid(f"{path}.{name}", problem)
    return AzureDeploymentSecret(**element)


def _refuse_unknown(name: str, path: str) -> Refused:
    known = f"the fields are {', '.join(FIELDS)}"
    if _FIELD_NAME.fullmatch(name) is None:
        return invalid(path, f"There is a field that is unknown; {known}.")
    return invalid(f"{path}.{name}", f"{name} is unknown; {known}.")


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


def _repeated_model(deployments: list[AzureDeploymentSecret]) -> Refused | None:
    first_places: dict[str, int] = {}
    for number, each in enumerate(deployments):
        first = first_places.setdefault(each.model_slug, number)
        if first != number:
            return invalid(
                f"{KEY}[{number}].model_slug",
                f"The model of {KEY}[{first}] is here again; each model has one deployment.",
            )
    return None
