"""Amazon Bedrock: Converse, ConverseStream and, for embeddings, InvokeModel with an account's API key or AWS credentials.

Clients are lent by `bedrock_clients.py`, one for each credential and region; what is asked and
answered is in the modules beside this one.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import msgspec
from botocore.exceptions import ClientError, IncompleteReadError, ResponseStreamingError

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.conversation import Refused
from services.dispatcher.domain.embedding import EmbeddingRequest, TellUsage, untold
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import (
    AnswerNamed,
    Embeddings,
    StreamEnded,
    StreamPiece,
    WholeReply,
)
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.outbound.bedrock_client import BedrockClient, BedrockIdentity
from services.dispatcher.outbound.bedrock_clients import BedrockClients
from services.dispatcher.outbound.egress_addresses import EgressForbidden
from services.dispatcher.outbound.providers.bedrock.answers import (
    Invoked,
    read_invoked,
    request_id,
)
from services.dispatcher.outbound.providers.bedrock.content_blocks import Block
from services.dispatcher.outbound.providers.bedrock.converse_dialect import ConverseDialect
from services.dispatcher.outbound.providers.bedrock.converse_request import write_converse
from services.dispatcher.outbound.providers.bedrock.embeddings import (
    family_of,
    refusal_of,
    write_body,
)
from services.dispatcher.outbound.providers.bedrock.embeddings import (
    read_answer as read_embeddings,
)
from services.dispatcher.outbound.providers.bedrock.failures import (
    INVOKE,
    INVOKE_STREAM,
    UNREADABLE,
    read_failure,
)
from services.dispatcher.outbound.providers.bedrock.identities import failure_reader, identity_of
from services.dispatcher.outbound.providers.bedrock.profiles import model_id
from services.dispatcher.outbound.providers.check_by_completion import check_by_completion
from services.dispatcher.outbound.providers.completions_client import BROKEN, END_OF_BODY_SECONDS
from services.dispatcher.outbound.providers.embedding_batches import in_batches
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.streamed_answer import ENDED_EARLY, StreamedAnswer
from services.dispatcher.ports import ProviderSecret
from shared.clock import Clock

CHECK_MODEL: Final = "amazon.nova-micro-v1:0"
"""Bedrock's cheapest model of text, Amazon's own, which needs no agreement with anyone else."""
CHECK_PROFILES: Final = ("us", "eu", "apac")

_JSON: Final = "application/json"
_CUT: Final = ProviderFailure(failure=FailureClass.UNREACHABLE, status=200)
_FAILED: Final = (ClientError, *BROKEN, *UNREADABLE)


class _Events(Protocol):
    """botocore's stream of events; whoever leaves it early closes it."""

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A stream that Bedrock began."""

    events: _Events
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """Everything that goes out, and what is needed to read what comes back."""

    identity: BedrockIdentity
    parts: Block = field(repr=False)
    dialect: ConverseDialect
    failures: FailureReader = field(repr=False)


class Bedrock:
    """Calls models in the region of the credential."""

    def __init__(self, clients: BedrockClients, clock: Clock) -> None:
        """`clock` is for `Retry-After` when it is a date."""
        self._clients = clients
        self._clock = clock

    async def complete(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> WholeReply | ProviderFailure:
        """Call without streaming."""
        call = _call(attempt, secret, request)
        if isinstance(call, ProviderFailure):
            return call
        try:
            async with self._clients.client(call.identity) as client:
                answer = await client.converse(**call.parts)
        except _FAILED as error:
            return self._failure(error, call, INVOKE)
        reply = call.dialect.whole(answer)
        if isinstance(reply, ProviderFailure):
            return reply
        return msgspec.structs.replace(reply, upstream_id=request_id(answer))

    async def stream(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> AsyncGenerator[StreamPiece, None]:
        """Call and yield pieces as they come."""
        call = _call(attempt, secret, request)
        if isinstance(call, ProviderFailure):
            yield call
            return
        reader = call.dialect.pieces()
        try:
            async with self._clients.client(call.identity) as client:
                opened = await self._opened(client, call)
                if isinstance(opened, ProviderFailure):
                    yield opened
                    return
                with closing(opened.events) as source:
                    if opened.request_id is not None:
                        yield AnswerNamed(opened.request_id)
                    events = aiter(source)
                    while not reader.ended:
                        for piece in await self._next_pieces(events, reader, call):
                            if isinstance(piece, StreamEnded):
                                await _let_end(events)
                            yield piece
        except EgressForbidden as error:
            yield self._failure(error, call, INVOKE_STREAM)

    async def embed(
        self,
        attempt: Attempt,
        secret: ProviderSecret,
        request: EmbeddingRequest,
        tell_usage: TellUsage = untold,
    ) -> Embeddings | ProviderFailure:
        """Ask for embeddings, some models for one text at a time."""
        family = family_of(attempt.endpoint.provider_model)
        if isinstance(family, ProviderFailure):
            return family
        identity = identity_of(secret)
        if isinstance(identity, ProviderFailure):
            return identity
        name = model_id(attempt.endpoint, identity.region)
        if isinstance(name, ProviderFailure):
            return name
        texts = request.texts
        if isinstance(texts, Refused):
            return texts.at_provider()
        refusal = refusal_of(request, family)
        if refusal is not None:
            return refusal

        async def ask(batch: Sequence[str]) -> Embeddings | ProviderFailure:
            answer = await self._invoked(identity, name, write_body(family, request, batch))
            if isinstance(answer, ProviderFailure):
                return answer
            read = read_embeddings(
                family, answer.body, counted=answer.input_tokens, inputs=len(batch)
            )
            if isinstance(read, ProviderFailure):
                return read
            return msgspec.structs.replace(read, upstream_id=answer.request_id)

        return await in_batches(texts, ask, inputs_max=family.inputs_max, tell_usage=tell_usage)

    async def check(self, attempt: Attempt, secret: ProviderSecret) -> ProviderFailure | None:
        """One token of Amazon Nova Micro, for a ten-millionth of a dollar.

        Nothing free proves a key: the lists of models are at another host and need permissions of
        their own, while every key that is of use here may call Converse. That the region or account
        has no Nova Micro is told only to a key that was taken.
        """
        identity = identity_of(secret)
        if isinstance(identity, ProviderFailure):
            return identity
        endpoint = replace(
            attempt.endpoint, provider_model=CHECK_MODEL, inference_profiles=CHECK_PROFILES
        )
        if isinstance(model_id(endpoint, identity.region), ProviderFailure):
            endpoint = replace(endpoint, inference_profiles=())
        found = await check_by_completion(self, replace(attempt, endpoint=endpoint), secret)
        if found is not None and found.failure is FailureClass.MISCONFIGURED and found.status:
            return None
        return found

    async def _invoked(
        self, identity: BedrockIdentity, name: str, body: bytes
    ) -> Invoked | ProviderFailure:
        try:
            async with self._clients.client(identity) as client:
                answer = await client.invoke_model(
                    modelId=name, body=body, contentType=_JSON, accept=_JSON
                )
                return await read_invoked(answer)
        except (IncompleteReadError, ResponseStreamingError):
            return _CUT  # botocore's own words for what `BROKEN` has elsewhere
        except _FAILED as error:
            return read_failure(
                error, failure_reader(identity), action=INVOKE, now=self._clock.now()
            )

    async def _opened(self, client: BedrockClient, call: _Call) -> _Opened | ProviderFailure:
        try:
            answer = await client.converse_stream(**call.parts)
        except _FAILED as error:
            return self._failure(error, call, INVOKE_STREAM)
        return _Opened(events=answer["stream"], request_id=request_id(answer))

    async def _next_pieces(
        self,
        events: AsyncIterator[dict[str, Any]],
        reader: StreamedAnswer[dict[str, Any]],
        call: _Call,
    ) -> list[StreamPiece]:
        try:
            event = await anext(events)
        except StopAsyncIteration:
            return [reader.break_off(ENDED_EARLY)]
        except _FAILED as error:
            failure = self._failure(error, call, INVOKE_STREAM)
            return [reader.break_off(replace(failure, status=200))]
        return reader.take([event])

    def _failure(self, error: Exception, call: _Call, action: str) -> ProviderFailure:
        return read_failure(error, call.failures, action=action, now=self._clock.now())


async def _let_end(events: AsyncIterator[dict[str, Any]]) -> None:
    """Read on to the end of the body, if it is near, so that its connection can be used again."""
    try:
        async with asyncio.timeout(END_OF_BODY_SECONDS):
            async for _ in events:
                pass
    except _FAILED:
        pass  # all was said before


def _call(
    attempt: Attempt, secret: ProviderSecret, request: ChatRequest
) -> _Call | ProviderFailure:
    identity = identity_of(secret)
    if isinstance(identity, ProviderFailure):
        return identity
    name = model_id(attempt.endpoint, identity.region)
    if isinstance(name, ProviderFailure):
        return name
    written = write_converse(attempt, request)
    if isinstance(written, ProviderFailure):
        return written
    return _Call(
        identity=identity,
        parts={"modelId": name, **written.parts},
        dialect=written.dialect,
        failures=failure_reader(identity),
    )
