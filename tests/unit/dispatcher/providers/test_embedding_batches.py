"""Inputs in batches: none lost, none twice, in order, and never too many calls at once."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import Embeddings
from services.dispatcher.outbound.providers.embedding_batches import (
    CALLS_AT_ONCE,
    embedded,
    in_batches,
    vector,
    vectors,
)
from shared.events.usage import Usage

LIMITED = ProviderFailure(failure=FailureClass.RATE_LIMITED, status=429)


@given(
    st.lists(st.text("aé", max_size=12), min_size=1, max_size=60),
    st.integers(1, 10),
    st.integers(1, 40),
)
def test_every_input_has_its_vector_and_no_batch_is_too_large(
    inputs: list[str], inputs_max: int, bytes_max: int
) -> None:
    asked: list[Sequence[str]] = []

    async def ask(batch: Sequence[str]) -> Embeddings:
        asked.append(batch)
        await asyncio.sleep(0)
        return Embeddings(vectors=list(batch), usage=embedded(len(batch)))

    answer = asyncio.run(in_batches(inputs, ask, inputs_max=inputs_max, bytes_max=bytes_max))
    assert answer == Embeddings(vectors=inputs, usage=embedded(len(inputs)))
    for batch in asked:
        assert len(batch) <= inputs_max
        assert len(batch) == 1 or sum(len(each.encode()) for each in batch) <= bytes_max


async def test_no_more_calls_run_at_once_than_their_limit() -> None:
    running, most = 0, 0

    async def ask(batch: Sequence[str]) -> Embeddings:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1
        return Embeddings(vectors=list(batch), usage=None)

    answer = await in_batches([str(n) for n in range(100)], ask, inputs_max=1)
    assert isinstance(answer, Embeddings)
    assert answer.usage is None
    assert most == CALLS_AT_ONCE


async def test_the_first_failure_is_the_answer_and_stops_the_others() -> None:
    stopped = 0

    async def ask(batch: Sequence[str]) -> Embeddings | ProviderFailure:
        nonlocal stopped
        if batch == ["3"]:
            return LIMITED
        try:
            await asyncio.Event().wait()
        finally:
            stopped += 1
        raise AssertionError("it waits for ever")

    assert await in_batches([str(n) for n in range(20)], ask, inputs_max=1) == LIMITED
    assert stopped == CALLS_AT_ONCE - 1


async def test_what_was_counted_is_told_as_it_comes_though_the_request_fails() -> None:
    told: list[Usage] = []
    answered = asyncio.Event()

    async def ask(batch: Sequence[str]) -> Embeddings | ProviderFailure:
        match batch:
            case ["0"] | ["2"]:
                return Embeddings(vectors=["v"], usage=embedded(10 + int(batch[0])))
            case ["1"]:  # of which the provider tells no count
                answered.set()
                return Embeddings(vectors=["v"], usage=None)
            case _:
                await answered.wait()
                await asyncio.sleep(0)
                return LIMITED

    inputs = [str(n) for n in range(4)]
    assert await in_batches(inputs, ask, inputs_max=1, tell_usage=told.append) == LIMITED
    assert told == [embedded(10), embedded(22)]


async def test_what_was_counted_is_told_before_the_caller_gives_up() -> None:
    told: list[Usage] = []

    async def ask(batch: Sequence[str]) -> Embeddings:
        if batch == ["1"]:
            await asyncio.Event().wait()
        return Embeddings(vectors=["v"], usage=embedded(3))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await in_batches(["0", "1"], ask, inputs_max=1, tell_usage=told.append)
    assert told == [embedded(3)]


async def test_a_bug_in_a_call_is_raised() -> None:
    async def ask(batch: Sequence[str]) -> Embeddings:
        raise ZeroDivisionError(batch)

    with pytest.raises(ExceptionGroup):
        await in_batches(["a", "b"], ask, inputs_max=1)


def test_numbers_and_base64_travel_alike() -> None:
    assert vector([1.0, -2.5]) == "AACAPwAAIMA="
    assert vector("AACAPwAAIMA=") == "AACAPwAAIMA="
    wrong: tuple[str | list[float], ...] = ("", "AA==", "not base64", "é", [])
    for each in wrong:
        assert vector(each) is None
    assert vectors([[1.0], "AACAPw=="], inputs=2) == ["AACAPw==", "AACAPw=="]
    assert vectors([[1.0]], inputs=2) is None
    assert vectors([[1.0], []], inputs=2) is None


def test_a_count_that_makes_no_sense_is_none() -> None:
    assert embedded(None) is None
    assert embedded(-1) is None
    huge = embedded(10**30)
    assert huge is not None
    assert huge.prompt_tokens == 1 << 40
