"""How a credential fares, as clients are told: beside OpenRouter's fields, in our own words."""

from typing import Any

from shared.events.credential_health import CheckDescription, HealthDescription


def check_to_wire(check: CheckDescription | None) -> dict[str, Any] | None:
    """The check of the present key; null when none was ever asked for."""
    if check is None:
        return None
    deployments = check.deployments
    return {
        "status": check.status,
        "message": check.message,
        "provider_status": check.provider_status,
        "requested_at": check.requested_at,
        "checked_at": check.checked_at,
        "deployments": (
            None
            if deployments is None
            else [
                {
                    "model_slug": each.model_slug,
                    "model_id": each.model_id,
                    "resource_name": each.resource_name,
                    "status": each.status,
                    "message": each.message,
                    "provider_status": each.provider_status,
                }
                for each in deployments
            ]
        ),
    }


def health_to_wire(health: HealthDescription | None) -> dict[str, Any] | None:
    """What was seen in use, and what was booked this month."""
    if health is None:
        return None
    error = health.last_error
    return {
        "last_used_at": health.last_used_at,
        "last_success_at": health.last_success_at,
        "last_error": (
            None
            if error is None
            else {
                "class": error.failure,
                "provider_status": error.provider_status,
                "endpoint": error.endpoint,
                "at": error.at,
            }
        ),
        "cooling_down_until": health.cooling_down_until,
        "month": health.month,
        "requests": health.requests,
        "fees_nano_usd": health.fees_nano_usd,
    }
