"""Google Vertex AI: Gemini, Claude and partners' models, called as a service account.

Reference: docs.cloud.google.com/vertex-ai/generative-ai/docs. Which wire a model speaks is the
catalog's `api`: Gemini's generateContent, Anthropic's Messages over rawPredict, or OpenAI's chat
completions. All three are called with an access token, which may die before its hour: what answers 401
is asked once more with a fresh one, and then the key is refused.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.conversation import Refused
from services.dispatcher.domain.embedding import EmbeddingRequest, TellUsage, untold
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import Embeddings, StreamPiece, WholeReply
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.outbound.providers.anthropic.messages_request import write_messages
from services.dispatcher.outbound.providers.completions_client import (
    Call,
    CompletionsClient,
    Dialect,
)
from services.dispatcher.outbound.providers.embedding_batches import NO_EMBEDDINGS, in_batches
from services.dispatcher.outbound.providers.header_keys import WRONG_SECRET
from services.dispatcher.outbound.providers.openai_dialect import OpenAIDialect
from services.dispatcher.outbound.providers.openai_request import request_body
from services.dispatcher.outbound.providers.quirks import VERTEX_PARTNERS
from services.dispatcher.outbound.providers.vertex import embeddings
from services.dispatcher.outbound.providers.vertex.gemini_dialect import GeminiDialect
from services.dispatcher.outbound.providers.vertex.gemini_request import write_gemini
from services.dispatcher.outbound.providers.vertex.hosts import Place, place_of
from services.dispatcher.outbound.providers.vertex.tokens import AccessTokens
from services.dispatcher.ports import ProviderSecret
from shared.events.credential_secrets import VertexSecret

ANTHROPIC_VERSION: Final = "vertex-2023-10-16"
"""The one that Google documents, which knows sampling; Anthropic's own newest does not."""
CHECK_MODEL: Final = "gemini-2.5-flash-lite"
"""Whose tokens are counted to check a key: the Gemini that is served in the most regions."""

_CHECK_BODY: Final = b'{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}'
_UNAUTHORIZED: Final = 401
_NOT_JSON: Final = ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=200, code="not_json")
_PARTNERS: Final = OpenAIDialect(VERTEX_PARTNERS)
_encode = msgspec.json.Encoder().encode
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A call but for its token."""

    place: Place
    url: str
    body: bytes
    dialect: Dialect
    betas: tuple[str, ...] = ()

    def call(self, token: str, secret: VertexSecret) -> Call:
        """The call, made with a token."""
        headers = _headers(token)
        if self.betas:
            headers["anthropic-beta"] = ",".join(self.betas)
        return Call(
            url=self.url,
            hosts=self.place.hosts,
            headers=headers,
            body=self.body,
            secret=token,
            dialect=self.dialect,
            more_secrets=(secret.private_key,),
        )


class Vertex:
    """Calls the models of Vertex AI."""

    def __init__(
        self, client: CompletionsClient, tokens: AccessTokens, *, base_url: str | None
    ) -> None:
        """`base_url`, where the operator gives one, stands for every region's host; it ends before `/v1`."""
        self._client = client
        self._tokens = tokens
        self._base_url = base_url

    async def complete(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> WholeReply | ProviderFailure:
        """Call without streaming."""
        if not isinstance(secret, VertexSecret):
            return WRONG_SECRET
        written = self._write(attempt, secret, request, streamed=False)
        if isinstance(written, ProviderFailure):
            return written
        return await self._with_token(
            secret, lambda token: self._client.complete(written.call(token, secret))
        )

    async def stream(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> AsyncGenerator[StreamPiece, None]:
        """Call and yield pieces as they come."""
        if not isinstance(secret, VertexSecret):
            yield WRONG_SECRET
            return
        written = self._write(attempt, secret, request, streamed=True)
        if isinstance(written, ProviderFailure):
            yield written
            return
        token = await self._tokens.get(secret)
        is_first = True
        while not isinstance(token, ProviderFailure):
            async with aclosing(self._client.stream(written.call(token, secret))) as pieces:
                async for piece in pieces:
                    if is_first and _is_dead(piece):
                        break
                    yield piece
                else:
                    return
            is_first = False
            token = await self._tokens.get(secret, not_this=token)
        yield token

    async def embed(
        self,
        attempt: Attempt,
        secret: ProviderSecret,
        request: EmbeddingRequest,
        tell_usage: TellUsage = untold,
    ) -> Embeddings | ProviderFailure:
        """Ask for embeddings of Google's own models, Gemini's for one text at a time."""
        if not isinstance(secret, VertexSecret):
            return WRONG_SECRET
        if attempt.endpoint.api not in {None, "gemini"}:
            return NO_EMBEDDINGS
        place = self._place(attempt, secret)
        if isinstance(place, ProviderFailure):
            return place
        texts, task = request.texts, embeddings.task_type(request)
        if isinstance(texts, Refused):
            return texts.at_provider()
        if isinstance(task, Refused):
            return task.at_provider()
        model = attempt.endpoint.provider_model
        url = place.model("google", model, embeddings.METHOD)

        async def ask(batch: Sequence[str]) -> Embeddings | ProviderFailure:
            body = embeddings.write_body(request, batch, task)
            answer = await self._with_token(
                secret, lambda token: self._exchange(place, url, body, token, secret)
            )
            if isinstance(answer, ProviderFailure):
                return answer
            return embeddings.read_answer(answer, inputs=len(batch))

        return await in_batches(
            texts,
            ask,
            inputs_max=embeddings.inputs_max(model),
            bytes_max=embeddings.BATCH_BYTES_MAX,
            tell_usage=tell_usage,
        )

    async def check(
        self,
        attempt: Attempt,  # noqa: ARG002 - a service account is good for a project, not a model
        secret: ProviderSecret,
    ) -> ProviderFailure | None:
        """Have the tokens of one word counted.

        The exchange alone proves the key, not that it may call models. countTokens is free and asks for
        the very permission that completions ask for (aiplatform.endpoints.predict, as Google's audit log
        of PredictionService.CountTokens names it), in the credential's own project and region, with the
        Vertex AI API enabled there.
        """
        if not isinstance(secret, VertexSecret):
            return WRONG_SECRET
        place = place_of(secret, base_url=self._base_url)
        if isinstance(place, ProviderFailure):
            return place
        return await self._with_token(secret, lambda token: self._count(place, token, secret))

    async def _with_token(
        self, secret: VertexSecret, ask: Callable[[str], Awaitable[T]]
    ) -> T | ProviderFailure:
        """Ask with an access token, and once more with a fresh one when it is dead."""
        token = await self._tokens.get(secret)
        if isinstance(token, ProviderFailure):
            return token
        answer = await ask(token)
        if not _is_dead(answer):
            return answer
        token = await self._tokens.get(secret, not_this=token)
        return token if isinstance(token, ProviderFailure) else await ask(token)

    async def _count(
        self, place: Place, token: str, secret: VertexSecret
    ) -> ProviderFailure | None:
        url = place.model("google", CHECK_MODEL, "countTokens")
        answer = await self._exchange(place, url, _CHECK_BODY, token, secret)
        if isinstance(answer, ProviderFailure):
            return answer
        try:
            msgspec.json.decode(answer, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _NOT_JSON
        return None

    async def _exchange(
        self, place: Place, url: str, body: bytes, token: str, secret: VertexSecret
    ) -> bytes | ProviderFailure:
        return await self._client.exchange(
            url,
            hosts=place.hosts,
            headers=_headers(token),
            body=body,
            secrets=(token, secret.private_key),
        )

    def _write(
        self, attempt: Attempt, secret: VertexSecret, request: ChatRequest, *, streamed: bool
    ) -> _Written | ProviderFailure:
        place = self._place(attempt, secret)
        if isinstance(place, ProviderFailure):
            return place
        return _WRITERS[attempt.endpoint.api or "gemini"](place, attempt, request, streamed)

    def _place(self, attempt: Attempt, secret: VertexSecret) -> Place | ProviderFailure:
        regions = attempt.endpoint.regions
        if regions and secret.region not in regions:
            return ProviderFailure(
                failure=FailureClass.UNSUPPORTED,
                code="region_without_model",
                raw=f"the key's region is {secret.region}, and the model is served in {', '.join(regions)} only",
            )
        return place_of(secret, base_url=self._base_url)


def _is_dead(answer: object) -> bool:
    """Whether the API does not take the token (any more)."""
    return isinstance(answer, ProviderFailure) and answer.status == _UNAUTHORIZED


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def _write_gemini(
    place: Place,
    attempt: Attempt,
    request: ChatRequest,
    streamed: bool,  # noqa: FBT001 - as every writer
) -> _Written | ProviderFailure:
    written = write_gemini(attempt, request)
    if isinstance(written, ProviderFailure):
        return written
    method = "streamGenerateContent?alt=sse" if streamed else "generateContent"
    return _Written(
        place=place,
        url=place.model("google", attempt.endpoint.provider_model, method),
        body=_encode(written.body),
        dialect=GeminiDialect(excludes_reasoning=written.excludes_reasoning),
    )


def _write_claude(
    place: Place,
    attempt: Attempt,
    request: ChatRequest,
    streamed: bool,  # noqa: FBT001 - as every writer
) -> _Written | ProviderFailure:
    # Claude on Vertex is not handed addresses to fetch, and its tiers are Google's, not Anthropic's.
    written = write_messages(attempt, request, streamed=streamed, takes_links=False)
    if isinstance(written, ProviderFailure):
        return written
    body = {name: value for name, value in written.body.items() if name != "service_tier"}
    method = "streamRawPredict" if streamed else "rawPredict"
    return _Written(
        place=place,
        url=place.model("anthropic", attempt.endpoint.provider_model, method),
        body=_encode({"anthropic_version": ANTHROPIC_VERSION, **body}),
        dialect=written.dialect,
        betas=written.betas,
    )


def _write_partner(
    place: Place,
    attempt: Attempt,
    request: ChatRequest,
    streamed: bool,  # noqa: FBT001 - as every writer
) -> _Written | ProviderFailure:
    body = request_body(attempt, request, VERTEX_PARTNERS, streamed=streamed, usage_asked=True)
    if isinstance(body, ProviderFailure):
        return body
    return _Written(place=place, url=place.chat_completions, body=body, dialect=_PARTNERS)


_Writer = Callable[[Place, Attempt, ChatRequest, bool], _Written | ProviderFailure]
_WRITERS: Final[dict[str, _Writer]] = {
    "gemini": _write_gemini,
    "anthropic": _write_claude,
    "openai": _write_partner,
}
