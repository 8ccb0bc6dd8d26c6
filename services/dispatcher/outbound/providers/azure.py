"""Azure: deployments that an account brought, each with an address and key, and whole resources.

Protocol: learn.microsoft.com/azure/ai-foundry/openai/reference. It is OpenAI's, but for the `api-key`
header, error codes that are words or numbers as text (`failures.py` reads both), a first chunk
without choices that holds the prompt's filter results, and choices without `delta` where filter
results come late (`openai_response.py`). Where a resource is called is in `azure_resources.py`.
"""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.embedding import EmbeddingRequest, TellUsage, untold
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import Embeddings, StreamPiece, WholeReply
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.outbound.egress_addresses import EgressForbidden, authority_of
from services.dispatcher.outbound.providers import openai_embeddings
from services.dispatcher.outbound.providers.azure_resources import (
    CHAT_COMPLETIONS,
    EMBEDDINGS,
    embeddings_url,
    extra_arguments_header,
    models_url,
    resource_url,
)
from services.dispatcher.outbound.providers.check_by_completion import (
    check_by_completion,
    check_by_embedding,
)
from services.dispatcher.outbound.providers.completions_client import Call, CompletionsClient
from services.dispatcher.outbound.providers.header_keys import WRONG_SECRET, fits_a_header
from services.dispatcher.outbound.providers.openai_dialect import OpenAIDialect
from services.dispatcher.outbound.providers.openai_embeddings import (
    EmbeddingPlace,
    EmbeddingWays,
    embed_as_openai,
)
from services.dispatcher.outbound.providers.openai_request import request_body
from services.dispatcher.outbound.providers.quirks import AZURE_OTHERS, OPENAI, Quirks
from services.dispatcher.ports import ProviderSecret
from shared.events.credential_secrets import AzureResourceSecret, AzureSecret

STREAM_OPTIONS_SINCE: Final = "2024-08-01"
"""The first dated api-version that takes `stream_options`."""

_NO_DEPLOYMENT: Final = ProviderFailure(
    failure=FailureClass.MISCONFIGURED, code="no_such_deployment"
)
_DOES_NOT_CHAT: Final = "operationnotsupported"
_DATED_VERSION = re.compile(r"[?&]api-version=(\d{4}-\d{2}-\d{2})")
_URLS_REMEMBERED_MAX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a call goes, and with which key."""

    url: str
    api_key: str = field(repr=False)
    extra_headers: tuple[tuple[str, str], ...] = ()
    takes_stream_options: bool


class Azure:
    """Calls the deployment or resource that the credential holds for the attempt's model."""

    def __init__(self, client: CompletionsClient, *, resources_url: str | None = None) -> None:
        """Addresses come from the credentials; the client's egress checks them.

        `resources_url` is called instead of the hosts that resources are named after.
        """
        self._client = client
        self._resources_url = resources_url

    async def complete(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> WholeReply | ProviderFailure:
        """Call without streaming."""
        return await self._client.complete(self._call(attempt, secret, request, streamed=False))

    def stream(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> AsyncGenerator[StreamPiece, None]:
        """Call and yield pieces as they come."""
        return self._client.stream(self._call(attempt, secret, request, streamed=True))

    async def embed(
        self,
        attempt: Attempt,
        secret: ProviderSecret,
        request: EmbeddingRequest,
        tell_usage: TellUsage = untold,
    ) -> Embeddings | ProviderFailure:
        """Ask the deployment or resource for embeddings."""
        if not isinstance(secret, AzureSecret):
            return WRONG_SECRET
        ways = _embedding_ways(attempt.model)
        is_openai = ways is openai_embeddings.OPENAI
        place = self._resource(attempt, secret, is_openai=is_openai, operation=EMBEDDINGS)
        if place is None:
            place = _deployment(attempt, secret)
            if place is None:
                return _NO_DEPLOYMENT
            place = replace(place, url=embeddings_url(place.url))
        key = place.api_key.strip()
        if not fits_a_header(key):
            return WRONG_SECRET
        where = EmbeddingPlace(
            url=place.url,
            hosts=_host_named_by(place.url),
            headers=_headers(key, place),
            secret=key,
        )
        return await embed_as_openai(self._client, where, attempt, request, ways, tell_usage)

    async def check(self, attempt: Attempt, secret: ProviderSecret) -> ProviderFailure | None:
        """The list of models of a whole resource; of a deployment, which nothing free proves, one token.

        A deployment whose model does not chat says so, and is asked to embed one word.
        """
        if attempt.endpoint.resource is None:
            found = await check_by_completion(self, attempt, secret)
            if found is not None and (found.code or "").lower() == _DOES_NOT_CHAT:
                return await check_by_embedding(self, attempt, secret)
            return found
        resource = _resource_of(attempt, secret)
        if isinstance(resource, ProviderFailure):
            return resource
        key = resource.api_key.strip()
        if not fits_a_header(key):
            return WRONG_SECRET
        url = models_url(resource, base_url=self._resources_url)
        return await self._client.ask(
            url, hosts=_host_named_by(url), headers={"api-key": key}, secret=key
        )

    def _call(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest, *, streamed: bool
    ) -> Call | ProviderFailure:
        if not isinstance(secret, AzureSecret):
            return WRONG_SECRET
        quirks = _quirks(attempt.model)
        is_openai = quirks is OPENAI
        place = self._resource(
            attempt, secret, is_openai=is_openai, operation=CHAT_COMPLETIONS
        ) or _deployment(attempt, secret)
        if place is None:
            return _NO_DEPLOYMENT
        key = place.api_key.strip()
        if not fits_a_header(key):
            return WRONG_SECRET
        body = request_body(
            attempt, request, quirks, streamed=streamed, usage_asked=place.takes_stream_options
        )
        if isinstance(body, ProviderFailure):
            return body
        return Call(
            url=place.url,
            hosts=_host_named_by(place.url),
            headers=_headers(key, place),
            body=body,
            secret=key,
            dialect=OpenAIDialect(quirks),
        )

    def _resource(
        self, attempt: Attempt, secret: AzureSecret, *, is_openai: bool, operation: str
    ) -> _Place | None:
        resource = _resource_of(attempt, secret)
        if isinstance(resource, ProviderFailure):
            return None
        return _Place(
            url=resource_url(
                resource,
                attempt.endpoint.provider_model,
                base_url=self._resources_url,
                operation=operation,
            ),
            api_key=resource.api_key,
            extra_headers=extra_arguments_header(resource, is_openai=is_openai),
            takes_stream_options=True,
        )


def _resource_of(attempt: Attempt, secret: ProviderSecret) -> AzureResourceSecret | ProviderFailure:
    if not isinstance(secret, AzureSecret):
        return WRONG_SECRET
    for resource in secret.resources:
        if resource.resource_name == attempt.endpoint.resource:
            return resource
    return _NO_DEPLOYMENT


@lru_cache(maxsize=_URLS_REMEMBERED_MAX)
def _host_named_by(endpoint_url: str) -> frozenset[str]:
    """The one host that the key of a deployment or resource is for; none when its address cannot be called.

    The address is the credential's own, or made of its resource's name, or the operator's stand-in.
    """
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


def _deployment(attempt: Attempt, secret: AzureSecret) -> _Place | None:
    if attempt.endpoint.resource is not None:
        return None
    for deployment in secret.deployments:
        if (
            deployment.model_slug == attempt.model
            and deployment.model_id == attempt.endpoint.provider_model
        ):
            url = deployment.endpoint_url.strip()
            return _Place(
                url=url,
                api_key=deployment.api_key,
                takes_stream_options=takes_stream_options(url),
            )
    return None


def _quirks(model: str) -> Quirks:
    return OPENAI if model.startswith("openai/") else AZURE_OTHERS


def _embedding_ways(model: str) -> EmbeddingWays:
    is_openai = model.startswith("openai/")
    return openai_embeddings.OPENAI if is_openai else openai_embeddings.AZURE_OTHERS


def _headers(key: str, place: _Place) -> dict[str, str]:
    return {"api-key": key, "Content-Type": "application/json", **dict(place.extra_headers)}
