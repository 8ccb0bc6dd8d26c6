"""Models and their endpoints as OpenRouter describes them."""

from typing import Any, Final

from services.ingress.inbound.http.money_json import pricing
from shared.events.catalog import CatalogEndpoint, ModelListed

MODELS_PATH: Final = "/api/v1/models"


def model_body(model: ModelListed) -> dict[str, Any]:
    """One entry of the list of models; the price is that of the first endpoint."""
    return {
        "id": model.slug,
        "canonical_slug": model.slug,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "context_length": model.context_length_tokens,
        "architecture": _architecture(model),
        "pricing": pricing(model.endpoints[0].prices) if model.endpoints else {},
        "top_provider": {
            "context_length": model.context_length_tokens,
            "max_completion_tokens": model.output_tokens_max or None,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": model.capabilities.supported_parameters,
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"{MODELS_PATH}/{model.slug}/endpoints"},
    }


def endpoints_body(model: ModelListed) -> dict[str, Any]:
    """A model with each of its endpoints."""
    return {
        "data": {
            "id": model.slug,
            "name": model.name,
            "created": model.created,
            "description": model.description,
            "architecture": _architecture(model),
            "endpoints": [_endpoint(model, endpoint) for endpoint in model.endpoints],
        }
    }


def _architecture(model: ModelListed) -> dict[str, Any]:
    capabilities = model.capabilities
    inputs, outputs = capabilities.input_modalities, capabilities.output_modalities
    return {
        "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
        "input_modalities": inputs,
        "output_modalities": outputs,
        "tokenizer": capabilities.tokenizer,
        "instruct_type": None,
    }


def _endpoint(model: ModelListed, endpoint: CatalogEndpoint) -> dict[str, Any]:
    """Null where nothing is measured: how often and how fast an endpoint answers."""
    return {
        "name": f"{endpoint.provider_name} | {model.slug}",
        "model_id": model.slug,
        "model_name": model.name,
        "context_length": endpoint.context_length_tokens,
        "pricing": pricing(endpoint.prices),
        "provider_name": endpoint.provider_name,
        "tag": endpoint.provider,
        "quantization": None,
        "max_completion_tokens": endpoint.output_tokens_max or None,
        "max_prompt_tokens": None,
        "supported_parameters": model.capabilities.supported_parameters,
        "status": 0,
        "uptime_last_5m": None,
        "uptime_last_30m": None,
        "uptime_last_1d": None,
        "supports_implicit_caching": False,
        "latency_last_30m": None,
        "throughput_last_30m": None,
        "byok_only": endpoint.byok_only,
    }
