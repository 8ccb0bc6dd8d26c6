"""Where a whole Azure resource is called: at the host that its name makes, by its type.

An `openai` resource has each deployment in the path (learn.microsoft.com/azure/ai-foundry/openai/
reference), an `ai_foundry` one takes the deployment as `model` in the body (learn.microsoft.com/
azure/ai-foundry/foundry-models/concepts/endpoints, "Azure AI inference endpoint"). Deployments are
taken to be named as the catalog names the models of Azure, which is what the portal suggests.
"""

from typing import Final
from urllib.parse import quote

from shared.events.credential_secrets import AzureResourceSecret

OPENAI_API_VERSION: Final = "2025-04-01-preview"
"""The newest dated one. The newest without "preview", 2024-10-21, refuses reasoning models."""
FOUNDRY_API_VERSION: Final = "2024-05-01-preview"
MODELS_API_VERSION: Final = "2024-10-21"
CHAT_COMPLETIONS: Final = "/chat/completions"
EMBEDDINGS: Final = "/embeddings"
_EXTRA_ARGUMENTS: Final = "extra-parameters"
"""Foundry's header that says what becomes of arguments which its own API does not define."""


def resource_url(
    resource: AzureResourceSecret,
    deployment: str,
    *,
    base_url: str | None,
    operation: str = CHAT_COMPLETIONS,
) -> str:
    """The address of one deployment; `base_url`, where there is one, stands for any resource's host."""
    host = _host(resource, base_url)
    if resource.resource_type == "openai":
        path = f"/openai/deployments/{quote(deployment, safe='')}{operation}"
        return f"{host}{path}?api-version={OPENAI_API_VERSION}"
    return f"{host}/models{operation}?api-version={FOUNDRY_API_VERSION}"


def embeddings_url(endpoint_url: str) -> str:
    """Where a deployment embeds: its address, which ends in `/chat/completions`, with that ending.

    That is where Azure has it. The credential's format asks for the ending of chat completions,
    whatever the deployment's model does.
    """
    path, mark, query = endpoint_url.partition("?")
    return path.removesuffix(CHAT_COMPLETIONS) + EMBEDDINGS + mark + query


def models_url(resource: AzureResourceSecret, *, base_url: str | None) -> str:
    """The list of models, which both types of resource tell a good key, for nothing.

    "Models - List" of the data plane (learn.microsoft.com/rest/api/azureopenai/models/list).
    """
    return f"{_host(resource, base_url)}/openai/models?api-version={MODELS_API_VERSION}"


def _host(resource: AzureResourceSecret, base_url: str | None) -> str:
    if base_url:
        return base_url.rstrip("/")
    domain = "openai" if resource.resource_type == "openai" else "services.ai"
    return f"https://{resource.resource_name}.{domain}.azure.com"


def extra_arguments_header(
    resource: AzureResourceSecret, *, is_openai: bool
) -> tuple[tuple[str, str], ...]:
    """What Foundry's API is to do with `stream_options` and the like, which it refuses without this.

    OpenAI's models know them; others might refuse what they do not, so for those it is dropped.
    """
    if resource.resource_type == "openai":
        return ()
    return ((_EXTRA_ARGUMENTS, "pass-through" if is_openai else "drop"),)
