"""Frames: sealed, numbered, one in flight, joined meanwhile, the last only at the end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from services.dispatcher.outbound.kafka_replies import (
    BUFFERED_BYTES_MAX,
    FRAME_BYTES_WANTED,
    KafkaReplies,
)
from shared.errors import Unavailable
from shared.events.completions import ReplyFrame
from shared.events.envelope import type_of
from shared.events.replies import ReplyDelta, ReplyFailed, ReplyPart
from shared.ids import RunId
from shared.sealing import Seal
from shared.tasks import TaskScope
from shared.telemetry.metrics import Metrics
from tests.support.wait_until import wait_until
from tests.unit.dispatcher.made import DATA_KEY, asked, text

RUN = RunId("run-1")
REQUEST = asked()
SEAL = Seal(DATA_KEY, REQUEST.generation_id)
END = ReplyFailed(status=502, message="the end", error_type="provider_unavailable")


@dataclass
class SlowProducer:
    """Acknowledges when the test lets it; counts what is under way."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    frames: list[tuple[ReplyFrame, list[ReplyPart]]] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    refuse: int = 0
    partitions: set[int | None] = field(default_factory=set)

    async def emit(
        self,
        _topic: object,
        event: ReplyFrame,
        *,
        key: str,
        content: bytes,
        partition: int,
        event_id: str,
    ) -> None:
        assert key == REQUEST.generation_id
        assert event_id == f"{RUN}.{event.number}"
        self.partitions.add(partition)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        if self.refuse:
            self.refuse -= 1
            raise Unavailable("kafka")
        opened = SEAL.open(type_of(ReplyFrame), RUN, event.number, content)
        self.frames.append((event, msgspec.json.decode(opened, type=list[ReplyPart])))

    @property
    def shape(self) -> list[tuple[int, int, bool]]:
        return [(event.number, len(parts), event.last) for event, parts in self.frames]


def replies(producer: Any, scope: TaskScope) -> KafkaReplies:
    return KafkaReplies(producer, scope=scope, frames=Metrics().counter("frames", "frames"))


def contents(frames: Sequence[tuple[ReplyFrame, list[ReplyPart]]]) -> list[str | None]:
    return [
        part.choices[0].message.content
        for _, parts in frames
        for part in parts
        if isinstance(part, ReplyDelta)
    ]


async def test_what_comes_while_a_frame_is_under_way_is_joined_into_the_next() -> None:
    producer = SlowProducer()
    async with TaskScope() as scope:
        stream = replies(producer, scope).open(REQUEST, RUN, SEAL)
        stream.put(text("0"))
        await wait_until(lambda: producer.under_way == 1)
        for number in range(1, 6):
            stream.put(text(str(number)))
        producer.gate.set()
        await stream.close(END)
    assert contents(producer.frames) == ["0", "1", "2", "3", "4", "5"]
    assert producer.shape == [(0, 1, False), (1, 6, True)]
    assert producer.most_under_way == 1
    assert producer.partitions == {REQUEST.reply_partition}


async def test_a_plain_answer_is_one_frame_which_is_the_last() -> None:
    producer = SlowProducer()
    producer.gate.set()
    async with TaskScope() as scope:
        await replies(producer, scope).open(REQUEST, RUN, SEAL).close(END)
        assert len(scope) == 0
    assert producer.shape == [(0, 1, True)]


async def test_frames_stay_near_the_wanted_size_and_a_large_part_travels_whole() -> None:
    producer = SlowProducer()
    async with TaskScope() as scope:
        stream = replies(producer, scope).open(REQUEST, RUN, SEAL)
        stream.put(text("first"))
        await wait_until(lambda: producer.under_way == 1)
        for _ in range(4):
            stream.put(text("x" * (FRAME_BYTES_WANTED // 3)))
        stream.put(text("y" * FRAME_BYTES_WANTED * 2))
        producer.gate.set()
        await stream.close(END)
    assert producer.shape == [
        (0, 1, False),
        (1, 2, False),
        (2, 2, False),
        (3, 1, False),
        (4, 1, True),
    ]


async def test_a_full_buffer_makes_the_provider_wait() -> None:
    producer = SlowProducer()
    async with TaskScope() as scope:
        stream = replies(producer, scope).open(REQUEST, RUN, SEAL)
        stream.put(text("first"))
        await wait_until(lambda: producer.under_way == 1)
        await stream.room()
        stream.put(text("x" * BUFFERED_BYTES_MAX))
        waiting = scope.start(stream.room(), name="room")
        await asyncio.sleep(0)
        assert not waiting.done()
        producer.gate.set()
        await waiting
        await stream.close(END)


async def test_a_frame_that_is_not_acknowledged_breaks_the_stream_and_the_end_is_still_tried() -> (
    None
):
    producer = SlowProducer(refuse=1)
    producer.gate.set()
    async with TaskScope() as scope:
        stream = replies(producer, scope).open(REQUEST, RUN, SEAL)
        stream.put(text("lost"))
        await wait_until(lambda: len(scope) == 0)
        with pytest.raises(Unavailable):
            stream.put(text("more"))
        with pytest.raises(Unavailable):
            await stream.room()
        await stream.close(END)
    assert producer.shape == [(1, 1, True)]


async def test_an_end_that_is_not_acknowledged_is_told() -> None:
    producer = SlowProducer(refuse=1)
    producer.gate.set()
    async with TaskScope() as scope:
        stream = replies(producer, scope).open(REQUEST, RUN, SEAL)
        with pytest.raises(Unavailable):
            await stream.close(END)


async def test_the_end_follows_even_when_the_frame_under_way_is_lost() -> None:
    producer = SlowProducer(refuse=1)
    async with TaskScope() as scope:
        stream = replies(producer, scope).open(REQUEST, RUN, SEAL)
        stream.put(text("lost"))
        await wait_until(lambda: producer.under_way == 1)
        closing = scope.start(stream.close(END), name="close")
        await asyncio.sleep(0)
        producer.gate.set()
        await closing
    assert producer.shape == [(1, 1, True)]
