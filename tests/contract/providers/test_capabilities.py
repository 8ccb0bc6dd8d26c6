"""Every cell of the table of capabilities, tried against the simulator."""

import base64
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import (
    AnswerNamed,
    Embeddings,
    StreamEnded,
    StreamPiece,
    UsageSeen,
    WholeReply,
)
from services.dispatcher.outbound.providers.embedding_batches import NO_EMBEDDINGS
from services.dispatcher.ports import Provider
from shared.events.replies import Choice, Message, ReplyDelta, ToolCall
from shared.events.usage import Usage
from tests.contract.providers.builders import request
from tests.contract.providers.capabilities import TABLE, Capability, Unsupported
from tests.contract.providers.conftest import Wire, wire_of
from tests.simulator.app import Simulator
from tests.simulator.embeddings import as_base64, vector
from tests.simulator.scripts import CachedTokens, ReasoningTokens, Script
from tests.simulator.usage import THOUGHT, answer_text
from tests.support.wait_until import wait_until

_PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_WITHOUT_LINKS = {"amazon-bedrock"}
_OF_CLAUDE = {"anthropic", "amazon-bedrock"}
_OF_ONE_LENGTH = {"cohere": 1536, "together": 1536, "mistral": 1024}
"""Whose endpoint or model takes no `dimensions`, so that it is dropped."""
_THINKERS = {
    "openai": "gpt-5",
    "mistral": "mistral-small-2603",
    "deepseek": "deepseek-v4-pro",
    "groq": "gpt-oss-120b",
    "together": "gpt-oss-120b",
    "fireworks": "gpt-oss-120b",
    "xai": "grok-3-mini",
    "google-ai-studio": "gemini-3-flash-preview",
    "cohere": "command-a-reasoning",
}


def _tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": _CITY}}


def _cells() -> list[tuple[str, Capability]]:
    return [(slug, capability) for slug, row in TABLE.items() for capability in row]


async def test_every_provider_fills_in_every_cell(
    every_provider: Mapping[str, Provider],
) -> None:
    assert {name.partition(":")[0] for name in TABLE} == every_provider.keys()
    for row in TABLE.values():
        assert row.keys() == set(Capability)


@pytest.mark.parametrize(("slug", "capability"), _cells())
async def test_a_provider_does_what_its_cell_says(
    every_provider: Mapping[str, Provider], simulator: Simulator, slug: str, capability: Capability
) -> None:
    cell = TABLE[slug][capability]
    wire = wire_of(slug, every_provider, simulator)
    if isinstance(cell, Unsupported):
        assert cell.reason
        if capability is Capability.EMBEDDINGS:
            assert await wire.embed("hello") == NO_EMBEDDINGS
            assert simulator.calls.since() == []
        return
    await _CHECKS[capability](wire, simulator)


def _whole(answer: WholeReply | ProviderFailure) -> Choice:
    assert isinstance(answer, WholeReply), answer
    (choice,) = answer.choices
    return choice


def _deltas(pieces: list[StreamPiece]) -> list[Message]:
    return [piece.choices[0].message for piece in pieces if isinstance(piece, ReplyDelta)]


def _text(pieces: list[StreamPiece]) -> str:
    return "".join(delta.content or "" for delta in _deltas(pieces))


def _names(calls: list[ToolCall]) -> list[str | None]:
    return [call.function.name for call in calls if call.function is not None]


async def _plain(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.complete(text="words=4")
    choice = _whole(answer)
    assert (choice.message.content, choice.finish_reason) == (answer_text(4), "stop")
    assert isinstance(answer, WholeReply)
    assert answer.upstream_id == simulator.calls.since()[-1].id


async def _stream(wire: Wire, simulator: Simulator) -> None:
    pieces = await wire.stream(text="words=4")
    assert _text(pieces) == answer_text(4)
    assert isinstance(pieces[-1], StreamEnded)
    # told once, and before anything that may be cut
    assert pieces[0] == AnswerNamed(simulator.calls.since()[-1].id)
    assert sum(isinstance(piece, AnswerNamed) for piece in pieces) == 1


async def _tools(wire: Wire, _: Simulator) -> None:
    tools = [_tool("weather"), _tool("time")]
    (call,) = _whole(await wire.complete(text="use the tool", tools=tools)).message.tool_calls or []
    assert _names([call]) == ["weather"]
    messages = [
        {"role": "user", "content": "use the tool"},
        {"role": "assistant", "content": None, "tool_calls": msgspec.to_builtins([call])},
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    final = _whole(await wire.complete(messages=messages, tools=tools))
    assert final.message.content == answer_text(16)
    refused = _whole(await wire.complete(text="use the tool", tools=tools, tool_choice="none"))
    assert refused.message.tool_calls is None


async def _parallel_tools(wire: Wire, _: Simulator) -> None:
    tools = [_tool("weather"), _tool("time")]
    calls = _whole(await wire.complete(text="use the tools", tools=tools)).message.tool_calls or []
    assert _names(calls) == ["weather", "time"]
    assert len({call.id for call in calls}) == 2
    pieces = await wire.stream(text="use the tools", tools=tools)
    arguments = {0: "", 1: ""}
    for delta in _deltas(pieces):
        for call in delta.tool_calls or []:
            assert call.index is not None
            arguments[call.index] += (call.function and call.function.arguments) or ""
    assert [msgspec.json.decode(text).keys() for text in arguments.values()] == [{"city"}] * 2
    (one,) = (
        _whole(
            await wire.complete(text="use the tools", tools=tools, parallel_tool_calls=False)
        ).message.tool_calls
        or []
    )
    assert _names([one]) == ["weather"]


async def _image(wire: Wire, _: Simulator) -> None:
    link = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    content: list[dict[str, Any]] = [
        {"type": "text", "text": "words=2"},
        {"type": "image_url", "image_url": {"url": _PNG}},
    ]
    if wire.slug not in _WITHOUT_LINKS:
        content.append(link)
    choice = _whole(await wire.complete(messages=[{"role": "user", "content": content}]))
    assert choice.message.content == answer_text(2)


async def _json_schema(wire: Wire, _: Simulator) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": _CITY}}
    choice = _whole(await wire.complete(response_format=form))
    assert msgspec.json.decode(choice.message.content or "").keys() == {"city"}


async def _reasoning(wire: Wire, simulator: Simulator) -> None:
    simulator.scripts.put(wire.key(), Script([ReasoningTokens(tokens=7)]))
    thinker = wire.attempt()
    if wire.slug in _THINKERS:
        thinker = wire.attempt(model="x/" + _THINKERS[wire.slug])
    # OpenRouter knows both ways to ask, the simulator that stands in for it only OpenAI's.
    effort: dict[str, Any] = {"reasoning": {"effort": "high"}}
    if wire.slug == "openrouter":
        effort = {"reasoning_effort": "high"}
    asked = request("words=2", **effort)
    answer = await wire.provider.complete(thinker, wire.secret(), asked)
    assert isinstance(answer, WholeReply)
    assert answer.usage is not None
    thought = _whole(answer).message.reasoning
    if wire.native in {"anthropic", "gemini"} or wire.slug in _OF_CLAUDE:
        assert thought == THOUGHT
    if wire.slug == "amazon-bedrock":  # which counts what was thought with the rest
        assert answer.usage.completion_tokens == 2 + 7 + len((thought or "").split())
        return
    assert answer.usage.reasoning_tokens == 7 + len((thought or "").split())


async def _stop(wire: Wire, _: Simulator) -> None:
    stop = answer_text(3).split()[-1]
    choice = _whole(await wire.complete(text="words=9", stop=[stop]))
    assert (choice.message.content, choice.finish_reason) == (answer_text(2), "stop")


async def _usage(wire: Wire, _: Simulator) -> None:
    told = Usage(prompt_tokens=4, completion_tokens=3)
    answer = await wire.complete(text="words=3")
    assert isinstance(answer, WholeReply)
    assert answer.usage == told
    if wire.slug != "mistral":  # the simulator speaks as OpenAI, which tells it when asked
        pieces = await wire.stream(text="words=3")
        assert [piece.usage for piece in pieces if isinstance(piece, UsageSeen)][-1] == told
        assert isinstance(pieces[-1], StreamEnded)
        assert pieces[-1].usage == told


async def _cached_usage(wire: Wire, simulator: Simulator) -> None:
    simulator.scripts.put(wire.key(), Script([CachedTokens(tokens=3, written=1)]))
    written = (
        1 if wire.native == "anthropic" or wire.slug in _OF_CLAUDE else 0
    )  # the others do not tell
    told = Usage(prompt_tokens=5, completion_tokens=3, cached_tokens=3, cache_write_tokens=written)
    answer = await wire.complete()
    assert isinstance(answer, WholeReply)
    assert answer.usage == told
    if wire.slug != "mistral":
        ended = (await wire.stream())[-1]
        assert isinstance(ended, StreamEnded)
        assert ended.usage == told


async def _errors(wire: Wire, _: Simulator) -> None:
    expected = {
        "401": FailureClass.KEY_REFUSED,
        "429": FailureClass.RATE_LIMITED,
        "529": FailureClass.PROVIDER_ERROR,
        "context": FailureClass.CONTEXT_TOO_LONG,
        "errorfirst": FailureClass.PROVIDER_ERROR,
    }
    for marker, failure in expected.items():
        *before, streamed = await wire.stream(marker)
        assert all(isinstance(each, AnswerNamed) for each in before)
        for answer in (await wire.complete(marker), streamed):
            assert isinstance(answer, ProviderFailure)
            assert answer.failure is failure


async def _cancel(wire: Wire, simulator: Simulator) -> None:
    asked = request("words=500 pause_ms=20", stream=True)
    pieces = wire.provider.stream(wire.attempt(), wire.secret(), asked)
    async with aclosing(pieces):
        await anext(pieces)
        await anext(pieces)
    await wait_until(
        lambda: [call.outcome for call in simulator.calls.since()] == ["client_gone"],
        deadline_seconds=2,
    )


async def _mid_stream_failure(wire: Wire, simulator: Simulator) -> None:
    for marker in ("cut", "enddone", "errorafter"):
        *pieces, last = await wire.stream(marker, "words=9")
        assert AnswerNamed(simulator.calls.since()[-1].id) in pieces
        assert _text(pieces) == answer_text(2 if marker == "errorafter" else 3)
        assert isinstance(last, ProviderFailure)
        assert last.failure is FailureClass.STREAM_CUT


async def _empty_completion(wire: Wire, _: Simulator) -> None:
    answer = await wire.complete("empty")
    assert isinstance(answer, WholeReply)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 0
    pieces = await wire.stream("empty")
    assert _text(pieces) == ""
    assert isinstance(pieces[-1], StreamEnded)


async def _embeddings(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.embed("the quick brown fox", "jumps", dimensions=512)
    assert isinstance(answer, Embeddings), answer
    length = _OF_ONE_LENGTH.get(wire.slug, 512)
    assert answer.vectors == [
        as_base64(vector(text, length)) for text in ("the quick brown fox", "jumps")
    ]
    assert answer.usage == Usage(prompt_tokens=5, completion_tokens=0)
    assert {call.operation for call in simulator.calls.since()} == {"embeddings"}
    silent = await wire.embed("hello", marker="nousage")
    assert isinstance(silent, Embeddings)
    assert silent.usage is None
    expected = {
        "401": FailureClass.KEY_REFUSED,
        "429": FailureClass.RATE_LIMITED,
        "500": FailureClass.PROVIDER_ERROR,
        "context": FailureClass.CONTEXT_TOO_LONG,
        "errorfirst": FailureClass.PROVIDER_ERROR,
        "enddone": FailureClass.PROVIDER_ERROR,
        "garbage": FailureClass.PROVIDER_ERROR,
        "reset": FailureClass.UNREACHABLE,
        "cut": FailureClass.UNREACHABLE,
    }
    for marker, failure in expected.items():
        refused = await wire.embed("hello", marker=marker)
        assert isinstance(refused, ProviderFailure)
        assert refused.failure is failure, marker


_CHECKS: Mapping[Capability, Callable[[Wire, Simulator], Awaitable[None]]] = {
    Capability.PLAIN: _plain,
    Capability.STREAM: _stream,
    Capability.TOOLS: _tools,
    Capability.PARALLEL_TOOLS: _parallel_tools,
    Capability.IMAGE: _image,
    Capability.JSON_SCHEMA: _json_schema,
    Capability.REASONING: _reasoning,
    Capability.STOP: _stop,
    Capability.USAGE: _usage,
    Capability.CACHED_USAGE: _cached_usage,
    Capability.ERRORS: _errors,
    Capability.CANCEL: _cancel,
    Capability.MID_STREAM_FAILURE: _mid_stream_failure,
    Capability.EMPTY_COMPLETION: _empty_completion,
    Capability.EMBEDDINGS: _embeddings,
}
