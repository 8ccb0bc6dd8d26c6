"""What adapters share that embed: inputs in batches as large as a provider takes, vectors as they travel."""

import asyncio
import sys
from array import array
from base64 import b64encode
from binascii import Error, a2b_base64
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain
from typing import Final, TypeVar

from services.dispatcher.domain.embedding import Input, TellUsage, untold
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import Embeddings
from shared.events.usage import Usage

CALLS_AT_ONCE: Final = 8
"""Of one request; further batches wait for one of them."""
NO_EMBEDDINGS: Final = ProviderFailure(
    failure=FailureClass.UNSUPPORTED, code="no_embeddings", raw="it offers no embeddings"
)
NOT_EMBEDDINGS: Final = ProviderFailure(
    failure=FailureClass.PROVIDER_ERROR, status=200, code="not_embeddings"
)
"""An answer with a status of success that does not hold a vector for each input."""
_FLOAT_BYTES: Final = 4
_TOKENS_MAX: Final = 1 << 40
"""Far above any request; keeps sums inside 64 bits whatever a provider writes."""

I = TypeVar("I", bound=Input)  # noqa: E741 - of inputs
Ask = Callable[[Sequence[I]], Awaitable[Embeddings | ProviderFailure]]


class _BatchFailed(Exception):  # noqa: N818 - what happened; it ends the other calls
    def __init__(self, failure: ProviderFailure) -> None:
        super().__init__(failure.failure)
        self.failure = failure


async def in_batches(
    inputs: Sequence[I],
    ask: Ask[I],
    *,
    inputs_max: int,
    bytes_max: int = sys.maxsize,
    tell_usage: TellUsage = untold,
) -> Embeddings | ProviderFailure:
    """Ask for at most so many inputs, and bytes of text, at a time. The first failure is the answer.

    The answer has usage when every call told it. `tell_usage` hears what was counted until then: of a
    request that fails nothing is delivered and nothing charged, but the provider has done that much.
    What it did of calls that were under way when one failed, nobody knows.
    """
    batches = list(_batches(inputs, inputs_max, bytes_max))
    if len(batches) == 1:
        return await ask(batches[0])
    answers: dict[int, Embeddings] = {}
    counted = 0
    waiting = iter(enumerate(batches))

    async def work() -> None:
        nonlocal counted
        for at, batch in waiting:
            answer = await ask(batch)
            if isinstance(answer, ProviderFailure):
                raise _BatchFailed(answer)
            answers[at] = answer
            if answer.usage is not None:
                counted += answer.usage.prompt_tokens
                tell_usage(Usage(prompt_tokens=counted, completion_tokens=0))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(CALLS_AT_ONCE, len(batches))):
                _ = group.create_task(work())
    except* _BatchFailed as failed:
        first = failed.exceptions[0]
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        failure = first.failure
    else:
        return _joined([answers[at] for at in range(len(batches))])
    return failure


def _batches(inputs: Sequence[I], inputs_max: int, bytes_max: int) -> Iterator[list[I]]:
    batch: list[I] = []
    size = 0
    for each in inputs:
        each_bytes = len(each.encode("utf-8", "replace")) if isinstance(each, str) else 0
        if batch and (len(batch) == inputs_max or size + each_bytes > bytes_max):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each_bytes
    yield batch


def _joined(answers: Sequence[Embeddings]) -> Embeddings:
    told = [each.usage for each in answers if each.usage is not None]
    return Embeddings(
        vectors=list(chain.from_iterable(each.vectors for each in answers)),
        usage=embedded(sum(each.prompt_tokens for each in told))
        if len(told) == len(answers)
        else None,
    )


def embedded(tokens: int | None) -> Usage | None:
    """The usage of embeddings; None when the provider did not tell, or told nonsense."""
    if tokens is None or tokens < 0:
        return None
    return Usage(prompt_tokens=min(tokens, _TOKENS_MAX), completion_tokens=0)


def vector(values: str | list[float]) -> str | None:
    """A vector as it travels; None when it is none."""
    if isinstance(values, str):
        try:
            size = len(a2b_base64(values, strict_mode=True))
        except (Error, ValueError):
            return None
        return values if size and size % _FLOAT_BYTES == 0 else None
    packed = array("f", values)
    if sys.byteorder == "big":
        packed.byteswap()
    return b64encode(packed.tobytes()).decode() if values else None


def vectors(told: Sequence[str | list[float]], *, inputs: int) -> list[str] | None:
    """All vectors as they travel; None when there is not one for each input."""
    found = [vector(each) for each in told]
    known = [each for each in found if each is not None]
    return known if len(known) == len(told) == inputs else None
