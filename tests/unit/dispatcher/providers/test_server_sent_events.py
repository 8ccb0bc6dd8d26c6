"""Events come out the same however the bytes were cut into pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.outbound.providers.server_sent_events import (
    LINE_BYTES_MAX,
    STREAM_BYTES_MAX,
    EventReader,
    StreamTooLarge,
)

_LINES = st.sampled_from(
    [
        b"data: {}",
        b"data:x",
        b"data",
        b"data: ",
        b"data:  two blanks",
        b": a comment",
        b":",
        b"event: chunk",
        b"id: 7",
        b"database: no",
        b"",
        b"data: [DONE]",
        "data: \N{SNOWMAN}".encode(),
    ]
)
_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
_STREAMS = st.lists(st.tuples(_LINES, _ENDS), max_size=30).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


def _read(pieces: list[bytes]) -> list[bytes]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + reader.end()


def _cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(_STREAMS, st.lists(st.integers(min_value=0), max_size=20))
def test_any_cutting_of_a_stream_reads_the_same(stream: bytes, places: list[int]) -> None:
    assert _read(_cut(stream, places)) == _read([stream])


@given(_STREAMS)
def test_a_stream_that_comes_byte_by_byte_reads_the_same(stream: bytes) -> None:
    assert _read([bytes([byte]) for byte in stream]) == _read([stream])


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0), max_size=8))
def test_any_bytes_at_all_read_the_same_however_they_are_cut(
    stream: bytes, places: list[int]
) -> None:
    assert _read(_cut(stream, places)) == _read([stream])


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data\n\n", [b""]),
        (b": ping\n\n: ping\n\ndata: a\n\n", [b"a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"database: a\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a\n\ndata: [DONE]", [b"a", b"[DONE]"]),
        (b"", []),
        (b"\n\n\n", []),
    ],
)
def test_a_stream_reads_as_the_standard_says(stream: bytes, events: list[bytes]) -> None:
    assert _read([stream]) == events


def _feed_often(piece: bytes, times: int) -> None:
    reader = EventReader()
    for _ in range(times):
        reader.feed(piece)


@pytest.mark.parametrize(
    ("piece", "times"),
    [
        pytest.param(b"x" * 1024, LINE_BYTES_MAX // 1024 + 1, id="a line that never ends"),
        pytest.param(b"data: " + b"x" * LINE_BYTES_MAX + b"\n\n", 1, id="a line at once"),
        pytest.param(
            b"data: " + b"x" * 1024 + b"\n", LINE_BYTES_MAX // 1024 + 1, id="an event of many lines"
        ),
        pytest.param(
            b": " + b"x" * 65_000 + b"\n", STREAM_BYTES_MAX // 65_000 + 1, id="comments without end"
        ),
    ],
)
def test_a_stream_above_its_limits_is_given_up(piece: bytes, times: int) -> None:
    with pytest.raises(StreamTooLarge):
        _feed_often(piece, times)
