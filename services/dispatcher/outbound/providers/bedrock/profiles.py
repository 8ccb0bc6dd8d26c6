"""Under which id a model is called in a region: its own, or that of an inference profile.

Source: docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html (November 2026).
"""

from typing import Final

from services.dispatcher.domain.attempt import Endpoint
from services.dispatcher.domain.failure import FailureClass, ProviderFailure

NOT_IN_REGION: Final = "not_in_region"

_OWN: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("us-gov-", ("us-gov",)),
    ("us-", ("us",)),
    ("ca-", ("ca", "us")),
    ("eu-", ("eu",)),
    ("ap-northeast-1", ("jp", "apac")),
    ("ap-northeast-3", ("jp", "apac")),
    ("ap-southeast-2", ("au", "apac")),
    ("ap-southeast-4", ("au", "apac")),
    ("ap-", ("apac",)),
)
"""How regions begin, with the prefixes of the profiles that keep a request near; the first that fits."""
_WITHOUT_GLOBAL: Final = ("us-gov-", "us-iso", "eu-iso", "eusc-", "cn-")
"""Partitions of their own, from which nothing is routed to the rest of the world."""


def model_id(endpoint: Endpoint, region: str) -> str | ProviderFailure:
    """The `modelId` to ask for; a misconfiguration where the region does not serve the model.

    The region's own profile goes before `global`, since it keeps data where the account chose to be.
    """
    name = endpoint.provider_model
    is_listed = region in endpoint.regions
    if endpoint.regions and not is_listed:
        return _not_served(name, region)
    if not endpoint.inference_profiles:
        return name
    for prefix in (*_own(region), *_global(region)):
        if prefix in endpoint.inference_profiles:
            return f"{prefix}.{name}"
    return name if is_listed else _not_served(name, region)


def _own(region: str) -> tuple[str, ...]:
    return next((prefixes for start, prefixes in _OWN if region.startswith(start)), ())


def _global(region: str) -> tuple[str, ...]:
    return () if region.startswith(_WITHOUT_GLOBAL) else ("global",)


def _not_served(name: str, region: str) -> ProviderFailure:
    return ProviderFailure(
        failure=FailureClass.MISCONFIGURED,
        code=NOT_IN_REGION,
        raw=f"Amazon Bedrock does not serve {name} from the key's region, {region}",
    )
