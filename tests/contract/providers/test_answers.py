"""What every provider must do with a request that goes well."""

import msgspec

from services.dispatcher.domain.reply import StreamEnded, WholeReply
from shared.events.replies import Message, ReplyDelta
from shared.events.usage import Usage
from tests.contract.providers.conftest import Wire
from tests.simulator.app import Simulator
from tests.simulator.scripts import CachedTokens, ReasoningTokens, Script
from tests.simulator.usage import TOOL_CALL_TOKENS, answer_text

_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def _text(deltas: list[ReplyDelta]) -> str:
    return "".join(choice.message.content or "" for delta in deltas for choice in delta.choices)


async def test_a_plain_answer_comes_whole(wire: Wire, simulator: Simulator) -> None:
    reply = await wire.complete(text="hello words=5", provider={"only": ["x"]}, temperature=1)
    assert isinstance(reply, WholeReply)
    (choice,) = reply.choices
    assert choice.message == Message(role="assistant", content=answer_text(5))
    native = {"anthropic": "end_turn", "gemini": "STOP"}.get(wire.native, "stop")
    assert (choice.finish_reason, choice.native_finish_reason) == ("stop", native)
    assert reply.usage == Usage(prompt_tokens=5, completion_tokens=5)
    (call,) = simulator.calls.since()
    assert (call.outcome, call.model, call.streamed) == (
        "completed",
        wire.attempt().endpoint.provider_model,
        False,
    )


async def test_a_stream_comes_in_pieces_and_ends_properly(wire: Wire) -> None:
    *pieces, ended = await wire.stream(text="hello words=5")
    deltas = [piece for piece in pieces if isinstance(piece, ReplyDelta)]
    assert _text(deltas) == answer_text(5)
    assert deltas[-1].choices[0].finish_reason == "stop"
    opening = 1 if wire.native == "openai" else 0  # which begins with a role alone
    assert len(deltas) == opening + 5 + 1
    assert b"null" not in msgspec.json.encode(deltas)
    assert isinstance(ended, StreamEnded)
    if wire.slug != "mistral":  # the simulator speaks as OpenAI, which tells usage when asked
        assert ended.usage == Usage(prompt_tokens=5, completion_tokens=5)


async def test_a_limit_ends_an_answer_early(wire: Wire) -> None:
    reply = await wire.complete(text="hello words=5", max_tokens=2)
    assert isinstance(reply, WholeReply)
    assert reply.choices[0].finish_reason == "length"


async def test_a_tool_call_comes_whole(wire: Wire) -> None:
    reply = await wire.complete(text="use the tool", tools=[_TOOL])
    assert isinstance(reply, WholeReply)
    (choice,) = reply.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert (call.type, call.index) == ("function", None)
    assert call.function is not None
    assert call.function.name == "weather"
    assert msgspec.json.decode(call.function.arguments or "").keys() == {"city"}
    assert reply.usage == Usage(prompt_tokens=6, completion_tokens=TOOL_CALL_TOKENS)


async def test_a_streamed_tool_call_can_be_put_together(wire: Wire) -> None:
    pieces = await wire.stream(text="use the tool", tools=[_TOOL])
    calls = [
        call
        for piece in pieces
        if isinstance(piece, ReplyDelta)
        for call in piece.choices[0].message.tool_calls or []
    ]
    assert {call.index for call in calls} == {0}
    assert calls[0].type == "function"
    functions = [call.function for call in calls if call.function is not None]
    assert functions[0].name == "weather"
    arguments = "".join(function.arguments or "" for function in functions)
    assert msgspec.json.decode(arguments).keys() == {"city"}


async def test_missing_usage_is_none_and_not_a_guess(wire: Wire) -> None:
    reply = await wire.complete("nousage")
    assert isinstance(reply, WholeReply)
    assert reply.usage is None
    ended = (await wire.stream("nousage"))[-1]
    assert isinstance(ended, StreamEnded)
    assert ended.usage is None


async def test_an_empty_completion_is_an_answer_of_no_tokens(wire: Wire) -> None:
    reply = await wire.complete("empty")
    assert isinstance(reply, WholeReply)
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 0
    pieces = await wire.stream("empty")
    assert _text([piece for piece in pieces if isinstance(piece, ReplyDelta)]) == ""
    assert isinstance(pieces[-1], StreamEnded)


async def test_cached_and_reasoning_tokens_are_parts_of_the_whole(
    wire: Wire, simulator: Simulator
) -> None:
    simulator.scripts.put(wire.key(), Script([CachedTokens(tokens=4), ReasoningTokens(tokens=7)]))
    cached = await wire.complete()
    thought = await wire.complete()
    assert isinstance(cached, WholeReply)
    assert isinstance(thought, WholeReply)
    assert cached.usage == Usage(prompt_tokens=5, completion_tokens=3, cached_tokens=4)
    assert thought.usage == Usage(prompt_tokens=5, completion_tokens=10, reasoning_tokens=7)
