"""Azure: deployments that an account brought, each with an address and key of its own.

Protocol: learn.microsoft.com/azure/ai-foundry/openai/reference. It is OpenAI's, but for the `api-key`
header, error codes that are words or numbers as text (`failures.py` reads both), a first chunk
without choices that holds the prompt's filter results, and choices without `delta` where filter
results come late (`openai_response.py`).
"""

import re
from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Final

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamPiece, WholeReply
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.outbound.egress_addresses import EgressForbidden, authority_of
from services.dispatcher.outbound.providers.completions_client import Call, CompletionsClient
from services.dispatcher.outbound.providers.openai_compatible import WRONG_SECRET, fits_a_header
from services.dispatcher.outbound.providers.openai_request import request_body
from services.dispatcher.outbound.providers.quirks import AZURE_OTHERS, OPENAI, Quirks
from services.dispatcher.ports import ProviderSecret
from shared.events.credential_secrets import AzureDeploymentSecret, AzureSecret

STREAM_OPTIONS_SINCE: Final = "2024-08-01"
"""The first dated api-version that takes `stream_options`."""

_NO_DEPLOYMENT: Final = ProviderFailure(
    failure=FailureClass.MISCONFIGURED, code="no_such_deployment"
)
_DATED_VERSION = re.compile(r"[?&]api-version=(\d{4}-\d{2}-\d{2})")
_URLS_REMEMBERED_MAX: Final = 4096


class Azure:
    """Calls the deployment that the credential holds for the attempt's model."""

    def __init__(self, client: CompletionsClient) -> None:
        """Addresses come from the credentials; the client's egress checks them."""
        self._client = client

    async def complete(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> WholeReply | ProviderFailure:
        """Call without streaming."""
        return await self._client.complete(_call(attempt, secret, request, streamed=False))

    def stream(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> AsyncGenerator[StreamPiece, None]:
        """Call and yield pieces as they come."""
        return self._client.stream(_call(attempt, secret, request, streamed=True))


def _call(
    attempt: Attempt, secret: ProviderSecret, request: ChatRequest, *, streamed: bool
) -> Call | ProviderFailure:
    if not isinstance(secret, AzureSecret):
        return WRONG_SECRET
    deployment = _deployment(attempt, secret)
    if deployment is None:
        return _NO_DEPLOYMENT
    key = deployment.api_key.strip()
    if not fits_a_header(key):
        return WRONG_SECRET
    quirks = _quirks(attempt.model)
    url = deployment.endpoint_url.strip()
    return Call(
        url=url,
        hosts=_host_named_by(url),
        headers={"api-key": key, "Content-Type": "application/json"},
        body=request_body(
            attempt, request, quirks, streamed=streamed, usage_asked=takes_stream_options(url)
        ),
        secret=key,
        quirks=quirks,
    )


@lru_cache(maxsize=_URLS_REMEMBERED_MAX)
def _host_named_by(endpoint_url: str) -> frozenset[str]:
    """The one host that a deployment's key is for; none when the address cannot be called at all."""
    try:
        return frozenset({authority_of(endpoint_url)})
    except EgressForbidden:
        return frozenset()


@lru_cache(maxsize=_URLS_REMEMBERED_MAX)
def takes_stream_options(endpoint_url: str) -> bool:
    """Whether the api-version of this address knows `stream_options`.

    Addresses without a dated version (`/openai/v1/`, `preview`) are the newest, so they do.
    """
    found = _DATED_VERSION.search(endpoint_url)
    return found is None or found[1] >= STREAM_OPTIONS_SINCE


def _deployment(attempt: Attempt, secret: AzureSecret) -> AzureDeploymentSecret | None:
    for deployment in secret.deployments:
        if (
            deployment.model_slug == attempt.model
            and deployment.model_id == attempt.endpoint.provider_model
        ):
            return deployment
    return None


def _quirks(model: str) -> Quirks:
    return OPENAI if model.startswith("openai/") else AZURE_OTHERS
