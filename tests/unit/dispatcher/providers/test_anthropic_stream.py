"""Anthropic's streams, however the bytes are cut."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.reply import StreamEnded, StreamPiece, UsageSeen
from services.dispatcher.outbound.providers.anthropic.messages_stream import MessageEvents
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.streamed_answer import SentEvents
from shared.events.replies import ReplyDelta
from shared.events.usage import Usage
from tests.simulator.answer import Answer, ToolCall
from tests.simulator.anthropic_wire import AnthropicWire
from tests.simulator.usage import Usage as Counted

_TOOL = ToolCall(id="call_1", name="weather", arguments='{"city":"amber"}')
_COUNTED = Counted(prompt_tokens=10, completion_tokens=20, cached_tokens=4, cache_write_tokens=3)


def _stream(*, tools: tuple[ToolCall, ...]) -> bytes:
    answer = Answer(
        id="msg_1",
        created=0,
        model="claude-haiku-4-5-20251001",
        words=[] if tools else ["amber", "birch"],
        finish_reason="tool_calls" if tools else "stop",
        tool_calls=tools,
        thought="well now",
        usage=_COUNTED,
        usage_told=True,
        usage_chunk=True,
    )
    events = AnthropicWire().events(answer)
    return events.opening + b"".join(events.pieces) + events.closing


def _read(stream: bytes, cuts: list[int]) -> list[StreamPiece]:
    meaning = MessageEvents(FailureReader("sk-secret-0001"), excludes_reasoning=False)
    reader = SentEvents(meaning)
    pieces: list[StreamPiece] = []
    edges = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    for at, edge in enumerate(edges[1:]):
        pieces += reader.feed(stream[edges[at] : edge])
    return pieces if reader.ended else pieces + reader.end()


@given(st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from([(), (_TOOL,)]))
def test_the_same_comes_out_however_the_bytes_are_cut(
    cuts: list[int], tools: tuple[ToolCall, ...]
) -> None:
    stream = _stream(tools=tools)
    pieces = _read(stream, cuts)
    assert pieces == _read(stream, [])
    deltas = [piece for piece in pieces if isinstance(piece, ReplyDelta)]
    assert b"null" not in msgspec.json.encode(deltas)
    told = Usage(prompt_tokens=10, completion_tokens=20, cached_tokens=4, cache_write_tokens=3)
    assert isinstance(pieces[-1], StreamEnded)
    assert pieces[-1].usage == told
    assert UsageSeen(told) in pieces
