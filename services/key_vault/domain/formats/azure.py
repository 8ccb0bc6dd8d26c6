"""Azure's format: one object, or an array of them, each a deployment or a whole resource.

A deployment has `model_slug`, `endpoint_url`, `api_key` and `model_id`; a resource has `api_key`,
`resource_name` and, unless it is `openai`, `resource_type`. All are strings, and there are no others.
"""

from typing import Any, Final, TypeAlias

from services.key_vault.domain.formats import azure_deployment, azure_resource
from services.key_vault.domain.formats.object_fields import (
    read_value,
    refuse_unknown,
    without_blanks,
)
from services.key_vault.domain.formats.parsed_secret import (
    KEY,
    Conditions,
    NamedModel,
    ParsedSecret,
)
from services.key_vault.domain.label import label_of_several
from services.key_vault.domain.refusals import invalid
from shared.events.credential_secrets import (
    AzureDeploymentSecret,
    AzureResourceSecret,
    AzureSecret,
)
from shared.events.credentials import Deployment, Resource
from shared.events.envelope import Refused
from shared.secret import Secret

ELEMENTS_MAX: Final = 100
_Element: TypeAlias = AzureDeploymentSecret | AzureResourceSecret
_BOTH_FORMS: Final = (
    f"an element is either a deployment with {azure_deployment.FIELDS.told}, or a resource with "
    f"{azure_resource.FIELDS.told}"
)


def parse_azure(pasted: Secret, conditions: Conditions) -> ParsedSecret | Refused:
    """Read one element or an array of them; each model has one deployment, each resource one key."""
    found = _elements(without_blanks(pasted.reveal()))
    if isinstance(found, Refused):
        return found
    elements: dict[str, _Element] = {}
    for path, element in found:
        read = _read(element, path, conditions)
        if isinstance(read, Refused):
            return read
        elements[path] = read
    return _repeated(elements) or _parsed(elements)


def _elements(text: str) -> list[tuple[str, Any]] | Refused:
    """What stands for deployments and resources, each with its path."""
    if not text.startswith(("{", "[")):
        return invalid(KEY, f"Azure takes a JSON object, or an array of them; {_BOTH_FORMS}.")
    value = read_value(text, KEY)
    if isinstance(value, Refused):
        return value
    if not isinstance(value, list):
        return [(KEY, value)]
    if not value:
        return invalid(KEY, "The array is empty; it needs at least one deployment or resource.")
    if len(value) > ELEMENTS_MAX:
        return invalid(KEY, f"The array has more than {ELEMENTS_MAX} elements.")
    return [(f"{KEY}[{number}]", element) for number, element in enumerate(value)]


def _read(element: Any, path: str, conditions: Conditions) -> _Element | Refused:
    if not isinstance(element, dict):
        return invalid(path, f"Must be an object; {_BOTH_FORMS}.")
    names = element.keys()
    of_a_deployment = [name for name in azure_deployment.OWN_FIELDS if name in names]
    of_a_resource = [name for name in azure_resource.OWN_FIELDS if name in names]
    if of_a_deployment and of_a_resource:
        return invalid(
            f"{path}.{of_a_resource[0]}",
            f"{of_a_resource[0]} and {of_a_deployment[0]} do not go together; {_BOTH_FORMS}.",
        )
    known = {*azure_deployment.FIELDS.known, *azure_resource.FIELDS.known}
    unknown = [name for name in names if name not in known]
    if unknown and not of_a_deployment and not of_a_resource:
        return refuse_unknown(unknown[0], path, _BOTH_FORMS)
    if of_a_resource:
        return azure_resource.read_resource(element, path)
    return azure_deployment.read_deployment(element, path, conditions.egress_allowed)


def _repeated(elements: dict[str, _Element]) -> Refused | None:
    first_places: dict[tuple[str, str], str] = {}
    for path, each in elements.items():
        if isinstance(each, AzureDeploymentSecret):
            field, name = "model_slug", each.model_slug
            rule = "The model of {} is here again; each model has one deployment."
        else:
            field, name = "resource_name", each.resource_name
            rule = "The resource of {} is here again; each resource has one key."
        first = first_places.setdefault((field, name), path)
        if first != path:
            return invalid(f"{path}.{field}", rule.format(first))
    return None


def _parsed(elements: dict[str, _Element]) -> ParsedSecret:
    deployments = {
        path: each for path, each in elements.items() if isinstance(each, AzureDeploymentSecret)
    }
    resources = [each for each in elements.values() if isinstance(each, AzureResourceSecret)]
    return ParsedSecret(
        secret=AzureSecret(deployments=list(deployments.values()), resources=resources),
        label=label_of_several([each.api_key for each in elements.values()]),
        deployments=tuple(
            Deployment(model_slug=each.model_slug, model_id=each.model_id)
            for each in deployments.values()
        ),
        resources=tuple(Resource(resource_name=each.resource_name) for each in resources),
        named_models=tuple(
            NamedModel(slug=each.model_slug, field=f"{path}.model_slug")
            for path, each in deployments.items()
        ),
    )
