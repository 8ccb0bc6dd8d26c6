"""A provider that does what a test wrote down, call by call."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.embedding import EmbeddingRequest, TellUsage, untold
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.operations import AnyRequest
from services.dispatcher.domain.reply import Embeddings, StreamPiece, UsageSeen, WholeReply
from services.dispatcher.domain.request import ChatRequest, ProviderPreferences
from services.dispatcher.ports import ProviderSecret

StreamStep = StreamPiece | asyncio.Event | Callable[[], None] | Exception
"""A piece, an event to wait for, something to do in passing, or a bug."""
Script = (
    WholeReply
    | Embeddings
    | ProviderFailure
    | Exception
    | asyncio.Event
    | UsageSeen
    | Sequence[StreamStep]
)
"""One call: a whole reply, vectors, a failure, a bug, or a stream's steps.

Before any but the last of them, an event to wait for, or what is counted of embeddings so far.
"""

_NOTHING_ASKED = ChatRequest(
    models=(), preferences=ProviderPreferences(), stream=False, max_tokens=None, fields={}
)


@dataclass(slots=True)
class Call:
    """One call as it came."""

    attempt: Attempt
    secret: ProviderSecret
    request: AnyRequest
    is_stopped: bool = False


@dataclass(slots=True)
class ScriptedProvider:
    """Takes the next script for each call; none left is a mistake of the test."""

    scripts: list[Script] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def _next(self, attempt: Attempt, secret: ProviderSecret, request: AnyRequest) -> Script:
        self.calls.append(Call(attempt, secret, request))
        return self.scripts.pop(0)

    async def complete(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> WholeReply | ProviderFailure:
        script = await self._answer(attempt, secret, request)
        if isinstance(script, WholeReply | ProviderFailure):
            return script
        raise AssertionError("another operation's script for a plain call")

    async def embed(
        self,
        attempt: Attempt,
        secret: ProviderSecret,
        request: EmbeddingRequest,
        tell_usage: TellUsage = untold,
    ) -> Embeddings | ProviderFailure:
        """As `complete`."""
        script = await self._answer(attempt, secret, request, tell_usage)
        if isinstance(script, Embeddings | ProviderFailure):
            return script
        raise AssertionError("another operation's script for embeddings")

    async def _answer(
        self,
        attempt: Attempt,
        secret: ProviderSecret,
        request: AnyRequest,
        tell_usage: TellUsage = untold,
    ) -> Script:
        script = self._next(attempt, secret, request)
        call = self.calls[-1]
        while isinstance(script, asyncio.Event | UsageSeen):
            if isinstance(script, UsageSeen):
                tell_usage(script.usage)
                script = self.scripts.pop(0)
                continue
            try:
                await script.wait()
            except asyncio.CancelledError:
                call.is_stopped = True
                raise
            script = self.scripts.pop(0)
        if isinstance(script, Exception):
            raise script
        return script

    async def check(self, attempt: Attempt, secret: ProviderSecret) -> ProviderFailure | None:
        """Whatever the script says to a call of `complete`."""
        answer = await self.complete(attempt, secret, _NOTHING_ASKED)
        return answer if isinstance(answer, ProviderFailure) else None

    async def stream(
        self, attempt: Attempt, secret: ProviderSecret, request: ChatRequest
    ) -> AsyncGenerator[StreamPiece, None]:
        script = self._next(attempt, secret, request)
        call = self.calls[-1]
        if isinstance(script, ProviderFailure):
            yield script
            return
        if not isinstance(script, Sequence):
            raise TypeError("a plain script for a stream")
        try:
            for step in script:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                elif callable(step):
                    step()
                else:
                    yield step
        except (asyncio.CancelledError, GeneratorExit):
            call.is_stopped = True
            raise
