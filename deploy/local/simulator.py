"""How the stack points at the provider simulator, and the credentials it pays for itself with."""

import json

SIMULATOR = "simulator"
_OPENAIS_WIRE = (
    "cohere",
    "deepseek",
    "fireworks",
    "google-ai-studio",
    "groq",
    "mistral",
    "openai",
    "openrouter",
    "together",
    "xai",
)
_ANTHROPIC = "anthropic"
_AZURE = "azure"
_BEDROCK = "amazon-bedrock"
_VERTEX = "google-vertex"


def simulator_endpoints(host: str, port: int) -> dict[str, str]:
    """Provider slug → the base URL that its adapter appends its usual path to, for every provider.

    `google-oauth` is where Vertex's access tokens come from, whole.
    """
    simulator = f"http://{host}:{port}"
    return {
        **dict.fromkeys(_OPENAIS_WIRE, f"{simulator}/v1"),
        **dict.fromkeys((_ANTHROPIC, _AZURE, _VERTEX), simulator),
        "google-oauth": f"{simulator}/token",
        _BEDROCK: simulator + "/bedrock/{region}",
    }


def simulator_credentials(
    host: str, port: int, models: list[str], service_account: str
) -> dict[str, str]:
    """Provider slug → a platform credential that the simulator accepts, as a user would paste it.

    `service_account` is the JSON key of one that the simulator knows.
    """
    keys = {provider: f"sk-platform-{provider}" for provider in (*_OPENAIS_WIRE, _ANTHROPIC)}
    keys[_BEDROCK] = "ABSKplatform-amazon-bedrock-us-east-1"
    keys[_VERTEX] = service_account
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
    return {**keys, _AZURE: json.dumps(azure)} if azure else keys
