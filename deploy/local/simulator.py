"""How the stack points at the provider simulator, and the credentials it pays for itself with."""

import json

SIMULATOR = "simulator"
_VERSIONED = ("openai", "mistral")
_UNVERSIONED = ("anthropic",)
_BEDROCK = "amazon-bedrock"


def simulator_endpoints(host: str, port: int) -> dict[str, str]:
    """Provider slug → the base URL that its adapter appends its usual path to.

    `google-oauth` is where Vertex's access tokens come from, whole.
    """
    simulator = f"http://{host}:{port}"
    return {
        **dict.fromkeys(_VERSIONED, f"{simulator}/v1"),
        **dict.fromkeys((*_UNVERSIONED, "azure", "google-vertex"), simulator),
        "google-oauth": f"{simulator}/token",
        _BEDROCK: simulator + "/bedrock/{region}",
    }


def simulator_credentials(host: str, port: int, models: list[str]) -> dict[str, str]:
    """Provider slug → a platform credential that the simulator accepts, as a user would paste it."""
    keys = {provider: f"sk-platform-{provider}" for provider in (*_VERSIONED, *_UNVERSIONED)}
    keys[_BEDROCK] = "ABSKplatform-amazon-bedrock-us-east-1"
    azure = [
        {
            "model_slug": model,
            "endpoint_url": (
                f"http://{host}:{port}/openai/deployments/{model.split('/')[-1]}"
                "/chat/completions?api-version=2024-08-01-preview"
            ),
            "api_key": "sk-platform-azure",
            "model_id": model.split("/")[-1],
        }
        for model in models
    ]
    return {**keys, "azure": json.dumps(azure)} if azure else keys
