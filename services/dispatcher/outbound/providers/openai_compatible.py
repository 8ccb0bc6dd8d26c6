"""Providers that speak OpenAI's chat completions: one adapter, a row of the registry for each."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamPiece, WholeReply
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.outbound.egress_addresses import authority_of
from services.dispatcher.outbound.providers.completions_client import Call, CompletionsClient
from services.dispatcher.outbound.providers.openai_request import request_body
from services.dispatcher.outbound.providers.quirks import Quirks
from services.dispatcher.ports import ProviderSecret
from shared.events.credential_secrets import StringSecret

PATH = "/chat/completions"

WRONG_SECRET = ProviderFailure(failure=FailureClass.MISCONFIGURED, code="credential_shape")
"""The credential is not of the shape that this provider needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """One provider. `base_url` ends before `/chat/completions`; the key goes into `key_header`."""

    slug: str
    name: str
    base_url: str
    quirks: Quirks
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "


class OpenAICompatible:
    """Calls one provider of the registry, with keys that are one string."""

    def __init__(self, row: ProviderRow, client: CompletionsClient) -> None:
        """`row` says what is particular about it; its keys are for the host of its base URL alone."""
        self._row = row
        self._url = row.base_url.rstrip("/") + PATH
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

    def _call(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest, *, streamed: bool
    ) -> Call | ProviderFailure:
        if not isinstance(secret, StringSecret):
            return WRONG_SECRET
        key = secret.value.strip()
        if not fits_a_header(key):
            return WRONG_SECRET
        row = self._row
        return Call(
            url=self._url,
            hosts=self._hosts,
            headers={row.key_header: row.key_prefix + key, "Content-Type": "application/json"},
            body=request_body(attempt, request, row.quirks, streamed=streamed, usage_asked=True),
            secret=key,
            quirks=row.quirks,
        )


def fits_a_header(key: str) -> bool:
    """Whether a key can be sent as it is: a line break in it would begin a header of its own."""
    return bool(key) and key.isascii() and key.isprintable()
