"""A request for embeddings: how it is read, what it can cost, and that it goes the way of completions."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.conversation import Refused
from services.dispatcher.domain.cost import Promise, reply_usage
from services.dispatcher.domain.embedding import EmbeddingRequest, read_embedding_request
from services.dispatcher.domain.estimate import estimated_usage, worst_case
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import Embeddings, UsageSeen
from services.dispatcher.domain.request import UnreadableRequest
from services.dispatcher.domain.run import Cancelled, Completed, Failed
from services.dispatcher.use_cases.finish_generation import VECTORS_BYTES_WANTED
from shared.events.billing import AuthorizeSpend, SpendAuthorized
from shared.events.completions import CompletionRequested
from shared.events.generations import Spend
from shared.events.replies import ReplyCompleted, ReplyFailed, ReplyVectors
from shared.events.routing import FallbackDecided, HealthChanged
from shared.events.usage import Prices, Usage, list_cost
from shared.ids import HoldId
from shared.money import rounded
from tests.support.wait_until import wait_until
from tests.unit.dispatcher.made import MODEL, asked, attempt, credential, platform
from tests.unit.dispatcher.world import World, sealed

PRICES = Prices(prompt=130_000, completion=0)
ENDPOINT = replace(attempt().endpoint, prices=PRICES, context_length_tokens=8_191)
VECTORS = ["AACAPw==", "AAAAQA=="]
USAGE = Usage(prompt_tokens=100, completion_tokens=0)
LIST_COST = 250_000
"""Of USAGE at the catalog's price of a prompt, in nano-USD."""
LIMITED = ProviderFailure(failure=FailureClass.RATE_LIMITED, status=429, retry_after_seconds=7)


def read(**fields: Any) -> EmbeddingRequest | UnreadableRequest:
    body = {"model": MODEL, "input": "hello there", **fields}
    return read_embedding_request(msgspec.json.encode(body))


def embedding(**fields: Any) -> EmbeddingRequest:
    found = read(**fields)
    assert isinstance(found, EmbeddingRequest)
    return found


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("one", ("one",)),
        (["one", "two"], ("one", "two")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
    ],
)
def test_every_form_of_input_is_read(given: Any, inputs: tuple[Any, ...]) -> None:
    assert embedding(input=given).inputs == inputs


def test_what_routing_and_adapters_need_is_read() -> None:
    found = embedding(
        dimensions=256,
        input_type="search_query",
        user="me",
        encoding_format="base64",
        provider={"only": ["Google Vertex"], "require_parameters": True},
    )
    assert (found.models, found.is_streamed) == ((MODEL,), False)
    assert (found.dimensions, found.input_type, found.user) == (256, "search_query", "me")
    assert found.preferences.only == ("google-vertex",)
    assert found.fields.keys() == {
        *("input", "dimensions", "input_type", "user", "encoding_format"),
    }


@pytest.mark.parametrize("given", [[], [{"text": "x"}], None, [["a"]], [True], 5])
def test_what_cannot_be_read_says_why(given: Any) -> None:
    assert isinstance(read(input=given), UnreadableRequest)


def test_tokens_are_no_texts() -> None:
    assert embedding(input=["a", "b"]).texts == ("a", "b")
    assert isinstance(embedding(input=[1, 2]).texts, Refused)


def test_a_parameter_may_be_dropped_unless_the_client_insists() -> None:
    fields: dict[str, Any] = {"dimensions": 8, "input_type": "x", "user": "me"}
    assert embedding(**fields).left_out(frozenset()) is None
    insisting = embedding(**fields, provider={"require_parameters": True})
    assert insisting.left_out(frozenset({"dimensions", "input_type"})) is None
    failure = insisting.left_out(frozenset({"dimensions"}))
    assert failure is not None
    assert (failure.failure, failure.code) == (FailureClass.UNSUPPORTED, "unsupported_parameter")
    assert (failure.raw or "").endswith("input_type")


# --- money ---------------------------------------------------------------------------------------

_texts = st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=20)
_tokens = st.lists(st.lists(st.integers(0, 200_000), min_size=1, max_size=50), min_size=1)


@given(_texts | _tokens)
def test_no_embedding_is_estimated_above_its_worst_case(given: list[Any]) -> None:
    wanted = embedding(input=given)
    estimate = estimated_usage(wanted, ENDPOINT, 0)
    assert (estimate.completion_tokens, estimate.estimated) == (0, True)
    assert rounded(list_cost(estimate, PRICES)) <= worst_case(wanted, ENDPOINT)


@given(_tokens)
def test_tokens_are_counted_exactly_afterwards(given: list[list[int]]) -> None:
    estimate = estimated_usage(embedding(input=given), ENDPOINT, 0)
    assert estimate.prompt_tokens == sum(map(len, given))


def test_each_input_may_be_as_long_as_the_context() -> None:
    huge = "x" * 100_000
    assert worst_case(embedding(input=[huge]), ENDPOINT) == rounded(
        list_cost(Usage(prompt_tokens=8_191, completion_tokens=0), PRICES)
    )
    assert worst_case(embedding(input=[huge] * 3), ENDPOINT) == rounded(
        list_cost(Usage(prompt_tokens=3 * 8_191, completion_tokens=0), PRICES)
    )


def test_zero_completion_tokens_cost_nothing_in_chat_alone() -> None:
    promise = Promise(spend=Spend())
    told = reply_usage(USAGE, PRICES, promise, is_byok=False, operation="embeddings")
    assert told.cost_nano_usd == rounded(list_cost(USAGE, PRICES)) > 0
    assert reply_usage(USAGE, PRICES, promise, is_byok=False).cost_nano_usd == 0


@given(st.lists(st.text("ab", min_size=1, max_size=1), max_size=50), st.integers(1, 20))
def test_parts_are_all_of_the_vectors_in_order(vectors: list[str], bytes_max: int) -> None:
    parts = Embeddings(vectors=vectors, usage=None).in_parts(bytes_max=bytes_max)
    assert [each for part in parts for each in part] == vectors
    assert parts
    assert all(len(part) <= bytes_max for part in parts)


# --- a run ---------------------------------------------------------------------------------------


def asked_for(world: World) -> CompletionRequested:
    return msgspec.structs.replace(asked(now=world.clock.now()), operation="embeddings")


async def embed(world: World, *scripts: Any, **fields: Any) -> Any:
    wanted = asked_for(world)
    content = sealed(wanted, **{"input": ["one", "two"], "messages": None, **fields})
    return await world.run(*scripts, request=wanted, content=content)


def vectors(usage: Usage | None = USAGE) -> Embeddings:
    return Embeddings(vectors=VECTORS, usage=usage)


async def test_an_own_key_embeds_and_its_fee_is_waived_without_asking_billing(
    world: World,
) -> None:
    world.own = [credential("own")]
    assert isinstance(await embed(world, vectors()), Completed)
    assert world.of(AuthorizeSpend) == []
    fact, last = world.fact, world.last
    assert (fact.operation, fact.outcome, fact.is_byok) == ("embeddings", "completed", True)
    assert (fact.usage, fact.streamed, fact.finish_reason) == (USAGE, False, None)
    assert isinstance(last, ReplyCompleted)
    assert (last.vectors, last.choices) == (VECTORS, [])
    assert (last.usage.cost_nano_usd, last.usage.list_cost_nano_usd) == (0, LIST_COST)
    assert last.usage.list_completion_cost_nano_usd == 0
    [call] = world.provider.calls
    assert isinstance(call.request, EmbeddingRequest)
    assert call.request.inputs == ("one", "two")


async def test_shared_capacity_is_held_for_and_charged_by_the_prompt(world: World) -> None:
    world.platform = [platform()]
    assert isinstance(await embed(world, vectors()), Completed)
    [command] = world.of(AuthorizeSpend)
    assert isinstance(command, AuthorizeSpend)
    assert 0 < command.worst_case_nano_usd < 1_000_000
    last = world.last
    assert isinstance(last, ReplyCompleted)
    assert last.usage.cost_nano_usd == LIST_COST


async def test_a_fee_is_told_as_it_was_promised(world: World) -> None:
    world.own, world.is_fresh = [credential("own")], False
    world.answers = [SpendAuthorized(hold_id=HoldId("hold"), waived=False, fee_percent=Decimal(5))]
    await embed(world, vectors(Usage(prompt_tokens=10, completion_tokens=0)))
    last = world.last
    assert isinstance(last, ReplyCompleted)
    assert last.usage.cost_nano_usd == 25_000 * 5 // 100


async def test_a_limited_key_gives_way_to_credits_and_everybody_hears_of_it(world: World) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    assert isinstance(await embed(world, LIMITED, vectors()), Completed)
    assert world.called_with == ["own", "platform-openai"]
    [fallback] = world.of(FallbackDecided)
    assert isinstance(fallback, FallbackDecided)
    assert (fallback.reason, fallback.to.tier) == ("rate_limited", "shared")
    assert len(world.of(HealthChanged)) == 1
    assert world.fact.is_byok is False
    # and the next one does not even try it
    await embed(world, vectors())
    assert world.called_with == ["own", "platform-openai", "platform-openai"]


async def test_always_use_lets_the_failure_of_the_key_be_the_answer(world: World) -> None:
    world.own, world.platform = [credential("own", always_use=True)], [platform()]
    assert isinstance(await embed(world, LIMITED), Failed)
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert (last.status, last.retry_after_seconds) == (429, 7)
    assert world.fact.usage is None


async def test_usage_that_is_not_told_is_estimated_and_marked(world: World) -> None:
    world.own = [credential("own")]
    await embed(world, vectors(None), input=["four", "eight bytes."])
    assert world.fact.usage == Usage(prompt_tokens=1 + 3, completion_tokens=0, estimated=True)


async def test_many_vectors_go_ahead_of_the_last_frame_once_the_fact_is_durable(
    world: World,
) -> None:
    world.own = [credential("own")]
    long = "A" * (VECTORS_BYTES_WANTED // 2)
    await embed(world, Embeddings(vectors=[long, long, long, "last"], usage=USAGE))
    kinds = [type(each).__name__ for each in world.out]
    assert kinds == ["GenerationFinished", "ReplyVectors", "ReplyCompleted"]
    [ahead] = world.of(ReplyVectors)
    last = world.last
    assert isinstance(ahead, ReplyVectors)
    assert isinstance(last, ReplyCompleted)
    assert [*ahead.vectors, *last.vectors] == [long, long, long, "last"]


async def test_a_client_that_leaves_stops_the_call_and_pays_nothing(world: World) -> None:
    world.own = [credential("own")]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(embed(world, asyncio.Event()))
        await wait_until(lambda: len(world.provider.calls) == 1)
        for handle in world.running:
            handle.end("client_gone")
    assert isinstance(running.result(), Cancelled)
    assert world.provider.calls[0].is_stopped
    assert (world.fact.outcome, world.fact.usage) == ("cancelled", None)


async def test_what_a_failed_attempt_used_is_in_its_receipt_and_charged_to_nobody(
    world: World,
) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    used = Usage(prompt_tokens=70, completion_tokens=0)
    assert isinstance(await embed(world, UsageSeen(used), LIMITED, vectors()), Completed)
    failed, answered = world.fact.attempts
    assert (failed.failure, failed.usage) == ("rate_limited", used)
    assert answered.usage is None
    assert world.fact.usage == USAGE
    world.out.clear()
    world.own, world.platform = [credential("last", always_use=True)], []
    assert isinstance(await embed(world, UsageSeen(used), LIMITED), Failed)
    lost = world.fact
    assert [each.usage for each in lost.attempts] == [used]
    assert (lost.outcome, lost.usage) == ("failed", None)


async def test_what_was_used_until_the_client_left_is_in_the_receipt_alone(world: World) -> None:
    world.own = [credential("own")]
    used = Usage(prompt_tokens=70, completion_tokens=0)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(embed(world, UsageSeen(used), asyncio.Event()))
        await wait_until(lambda: len(world.provider.calls) == 1)
        for handle in world.running:
            handle.end("client_gone")
    assert isinstance(running.result(), Cancelled)
    assert (world.fact.outcome, world.fact.usage) == ("cancelled", None)
    assert [each.usage for each in world.fact.attempts] == [used]


async def test_a_body_of_the_other_operation_is_refused(world: World) -> None:
    world.own = [credential("own")]
    assert isinstance(await embed(world, input=None), Failed)
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert last.status == 400
    assert world.provider.calls == []


async def test_a_model_must_take_what_is_insisted_on_but_for_what_we_see_to(world: World) -> None:
    world.own = [credential("own")]
    insists = {"require_parameters": True}
    fields: dict[str, Any] = {"encoding_format": "base64", "user": "me", "provider": insists}
    assert isinstance(await embed(world, vectors(), **fields), Completed)
    world.out.clear()
    assert isinstance(await embed(world, dimensions=8, **fields), Failed)
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert (last.status, "require_parameters" in last.message) == (404, True)
