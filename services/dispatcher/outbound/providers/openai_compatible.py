"""Providers that speak OpenAI's chat completions: one adapter, a row of the registry for each."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.embedding import EmbeddingRequest, TellUsage, untold
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import Embeddings, StreamPiece, WholeReply
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.outbound.egress_addresses import authority_of
from services.dispatcher.outbound.providers.check_by_completion import check_by_completion
from services.dispatcher.outbound.providers.completions_client import Call, CompletionsClient
from services.dispatcher.outbound.providers.embedding_batches import NO_EMBEDDINGS
from services.dispatcher.outbound.providers.header_keys import header_key
from services.dispatcher.outbound.providers.openai_dialect import OpenAIDialect
from services.dispatcher.outbound.providers.openai_embeddings import (
    PATH as EMBEDDINGS_PATH,
)
from services.dispatcher.outbound.providers.openai_embeddings import (
    EmbeddingPlace,
    EmbeddingWays,
    embed_as_openai,
)
from services.dispatcher.outbound.providers.openai_request import request_body
from services.dispatcher.outbound.providers.quirks import Quirks
from services.dispatcher.ports import ProviderSecret

PATH = "/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """One provider. `base_url` ends before `/chat/completions`; the key goes into `key_header`.

    `check_path`, after the base URL, answers only good keys and costs nothing. A provider that has no
    such path says None, and which of its models is the cheapest for a completion of one token.
    `embeddings` is None where it offers none; else they are at `/embeddings` after the base URL.
    """

    slug: str
    name: str
    base_url: str
    quirks: Quirks
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    check_path: str | None = "/models"
    check_model: str = ""
    embeddings: EmbeddingWays | None = None


class OpenAICompatible:
    """Calls one provider of the registry, with keys that are one string."""

    def __init__(self, row: ProviderRow, client: CompletionsClient) -> None:
        """`row` says what is particular about it; its keys are for the host of its base URL alone."""
        self._row = row
        self._base_url = row.base_url.rstrip("/")
        self._url = self._base_url + PATH
        self._dialect = OpenAIDialect(row.quirks)
        self._hosts = frozenset({authority_of(row.base_url)})
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
        attempt: Attempt,
        secret: ProviderSecret,
        request: EmbeddingRequest,
        tell_usage: TellUsage = untold,
    ) -> Embeddings | ProviderFailure:
        """Ask for embeddings, where the provider offers them."""
        row = self._row
        if row.embeddings is None:
            return NO_EMBEDDINGS
        key = header_key(secret)
        if isinstance(key, ProviderFailure):
            return key
        place = EmbeddingPlace(
            url=self._base_url + EMBEDDINGS_PATH,
            hosts=self._hosts,
            headers=self._headers(key),
            secret=key,
        )
        ways = row.embeddings
        return await embed_as_openai(self._client, place, attempt, request, ways, tell_usage)

    async def check(self, attempt: Attempt, secret: ProviderSecret) -> ProviderFailure | None:
        """Ask for what only a good key is told, else for one token."""
        row = self._row
        if row.check_path is None:
            endpoint = replace(attempt.endpoint, provider_model=row.check_model)
            return await check_by_completion(self, replace(attempt, endpoint=endpoint), secret)
        key = header_key(secret)
        if isinstance(key, ProviderFailure):
            return key
        return await self._client.ask(
            self._base_url + row.check_path,
            hosts=self._hosts,
            headers={row.key_header: row.key_prefix + key},
            secret=key,
        )

    def _call(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest, *, streamed: bool
    ) -> Call | ProviderFailure:
        key = header_key(secret)
        if isinstance(key, ProviderFailure):
            return key
        row = self._row
        body = request_body(attempt, request, row.quirks, streamed=streamed, usage_asked=True)
        if isinstance(body, ProviderFailure):
            return body
        return Call(
            url=self._url,
            hosts=self._hosts,
            headers=self._headers(key),
            body=body,
            secret=key,
            dialect=self._dialect,
        )

    def _headers(self, key: str) -> dict[str, str]:
        row = self._row
        return {row.key_header: row.key_prefix + key, "Content-Type": "application/json"}
