"""Anthropic's own API: `POST /v1/messages` with a key in `x-api-key`.

Reference: platform.claude.com/docs/en/api/overview. The wire is in the modules beside this one, which
Claude on other platforms shares.
"""

from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.embedding import EmbeddingRequest, TellUsage, untold
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import Embeddings, StreamPiece, WholeReply
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.outbound.egress_addresses import authority_of
from services.dispatcher.outbound.providers.anthropic.messages_request import (
    MessagesRequest,
    write_messages,
)
from services.dispatcher.outbound.providers.anthropic.steering import SAMPLING
from services.dispatcher.outbound.providers.completions_client import Call, CompletionsClient
from services.dispatcher.outbound.providers.embedding_batches import NO_EMBEDDINGS
from services.dispatcher.outbound.providers.header_keys import header_key
from services.dispatcher.ports import ProviderSecret

SLUG: Final = "anthropic"
BASE_URL: Final = "https://api.anthropic.com"
VERSION: Final = "2026-10-21"
"""The API version whose wire is spoken here; it knows no sampling."""
SAMPLING_VERSION: Final = "2023-06-01"
"""The version before it, the same wire with temperature, top_p and top_k for models up to 4.6."""
PATH: Final = "/v1/messages"
MODELS_PATH: Final = "/v1/models"

_encode = msgspec.json.Encoder().encode


class Anthropic:
    """Calls Claude at Anthropic."""

    def __init__(self, base_url: str, client: CompletionsClient) -> None:
        """`base_url` ends before `/v1`."""
        self._base_url = base_url.rstrip("/")
        self._url = self._base_url + PATH
        self._hosts = frozenset({authority_of(base_url)})
        self._client = client

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
        attempt: Attempt,  # noqa: ARG002 - it has no model that embeds
        secret: ProviderSecret,  # noqa: ARG002
        request: EmbeddingRequest,  # noqa: ARG002
        tell_usage: TellUsage = untold,  # noqa: ARG002
    ) -> Embeddings | ProviderFailure:
        """Anthropic offers no embeddings."""
        return NO_EMBEDDINGS

    async def check(
        self,
        attempt: Attempt,  # noqa: ARG002 - the key is good for all models or for none
        secret: ProviderSecret,
    ) -> ProviderFailure | None:
        """Ask for the list of models, which costs nothing."""
        key = header_key(secret)
        if isinstance(key, ProviderFailure):
            return key
        headers = {"x-api-key": key, "anthropic-version": VERSION}
        return await self._client.ask(
            self._base_url + MODELS_PATH, hosts=self._hosts, headers=headers, secret=key
        )

    def _call(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest, *, streamed: bool
    ) -> Call | ProviderFailure:
        key = header_key(secret)
        if isinstance(key, ProviderFailure):
            return key
        written = write_messages(attempt, request, streamed=streamed)
        if isinstance(written, ProviderFailure):
            return written
        return Call(
            url=self._url,
            hosts=self._hosts,
            headers=_headers(key, written),
            body=_encode({"model": attempt.endpoint.provider_model, **written.body}),
            secret=key,
            dialect=written.dialect,
        )


def _headers(key: str, written: MessagesRequest) -> dict[str, str]:
    version = VERSION if SAMPLING.isdisjoint(written.body) else SAMPLING_VERSION
    headers = {"x-api-key": key, "anthropic-version": version, "Content-Type": "application/json"}
    if written.betas:
        headers["anthropic-beta"] = ",".join(written.betas)
    return headers
