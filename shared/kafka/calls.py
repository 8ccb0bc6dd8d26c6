"""Request and reply over topics.

Rules: the caller owns the reply partition it names and reads it without a group; every call has a
deadline, which travels along, and a command that is late is dropped unread. A reply that nobody
waits for is ignored. The server's handler is idempotent: a command may come twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.clock import Clock
from shared.errors import PoisonRecord, Unavailable
from shared.events import codec
from shared.events.envelope import CallReply, Event
from shared.events.topic import SMALL_RECORD_BYTES_MAX, Topic
from shared.events.topics import TOPICS
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import (
    Intake,
    commit_quietly,
    decode_record,
    offsets_after,
    open_consumer,
)
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import EventProducer
from shared.kafka.record import Record
from shared.tasks import TaskScope
from shared.time_limit import TimeLimit

CALLS_WAITING_MAX: Final = 10_000
_BATCH_CALLS_MAX: Final = 200
_RETRY_SECONDS: Final = 0.25
_by_name: Final = {topic.name: topic for topic in TOPICS}


class Calls:
    """The caller's side: one per process and reply partition."""

    def __init__(
        self,
        producer: EventProducer,
        *,
        reply_topic: Topic,
        reply_partition: int,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        """Feed `on_record` from the reader of that partition."""
        self._producer = producer
        self._address = (
            ("reply_topic", reply_topic.name.encode()),
            ("reply_partition", str(reply_partition).encode()),
        )
        self._clock = clock
        self._new_id = new_id
        self._waiting: dict[str, asyncio.Future[CallReply]] = {}

    async def call(
        self, topic: Topic, command: Event, *, key: str, callee: str, deadline_seconds: float
    ) -> CallReply:
        """Ask, and wait for the answer; Unavailable(callee) when none comes in time.

        Whether the command was carried out is then unknown.
        """
        if len(self._waiting) >= CALLS_WAITING_MAX:
            raise Unavailable(callee, "too many calls are waiting")
        call_id = self._new_id()
        expires_at = self._clock.now() + timedelta(seconds=deadline_seconds)
        answer: asyncio.Future[CallReply] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = answer
        try:
            with TimeLimit(deadline_seconds):
                await self._producer.emit(
                    topic,
                    command,
                    key=key,
                    event_id=call_id,
                    extra_headers=(
                        *self._address,
                        ("expires_at", expires_at.isoformat().encode()),
                    ),
                )
                return await answer
        except TimeoutError:
            raise Unavailable(callee, "did not answer in time") from None
        finally:
            del self._waiting[call_id]

    def on_record(self, received: codec.Received) -> bool:
        """Take a reply in; False when the record is none."""
        if not isinstance(received.event, CallReply):
            return False
        answer = self._waiting.get(received.headers.get("ce_correlationid", b"").decode())
        if answer is not None and not answer.done():
            answer.set_result(received.event)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedCall:
    """One command with what is needed to answer it. `call_id` is the event's id."""

    command: Event
    call_id: str
    source: str
    expires_at: datetime
    reply_topic: Topic
    reply_partition: int


Handle = Callable[[Sequence[ReceivedCall]], Awaitable[Sequence[CallReply]]]


class CallServer:
    """One member of a group that answers commands, many at a time."""

    def __init__(
        self,
        config: KafkaConfig,
        *,
        group: str,
        topic: Topic,
        handle: Handle,
        producer: EventProducer,
        dead_letters: DeadLetters,
        clock: Clock,
    ) -> None:
        """`handle` answers each call of a batch, in the batch's order."""
        self._config = config
        self._group = group
        self._topic = topic
        self._handle = handle
        self._producer = producer
        self._dead_letters = dead_letters
        self._clock = clock
        self._answered: dict[TopicPartition, int] = {}
        self._uncommitted = asyncio.Event()
        self._problem: str | None = "has not joined its group"

    def problem(self) -> str | None:
        """Why commands are not being answered, or None."""
        return self._problem

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop`; the batch at hand is answered first."""
        async with (
            open_consumer(
                self._config,
                self._topic.name,
                group=self._group,
                partition_bytes_max=SMALL_RECORD_BYTES_MAX,
            ) as consumer,
            TaskScope() as scope,
        ):
            intake = Intake(consumer)
            filling = scope.start(intake.fill(), name="intake of calls")
            committing = scope.start(self._commit_as_answered(consumer), name="commit of calls")
            self._problem = None
            while not stop.is_set():
                for each in (filling, committing):
                    if each.done():
                        each.result()
                records = await intake.take(_BATCH_CALLS_MAX)
                if records:
                    await self._answer(records)
                    self._answered |= offsets_after(records)
                    self._uncommitted.set()
            committing.cancel()
            await self._commit(consumer)

    async def _commit_as_answered(self, consumer: AIOKafkaConsumer) -> None:
        """Commit beside the next batch, whose callers need not wait for it."""
        while True:
            await self._uncommitted.wait()
            self._uncommitted.clear()
            await self._commit(consumer)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        offsets, self._answered = self._answered, {}
        if offsets:
            await commit_quietly(consumer, offsets)

    async def _answer(self, records: Sequence[Any]) -> None:
        calls: list[ReceivedCall] = []
        for record in records:
            try:
                calls.append(_as_call(decode_record(record)))
                self._dead_letters.readable()
            except PoisonRecord as error:
                await self._dead_letters.offer(record, error.reason)
        while True:
            now = self._clock.now()
            calls = [call for call in calls if call.expires_at > now]
            if not calls:
                return
            try:
                answers = await self._handle(calls)
                await self._producer.send_many(
                    [
                        self._reply(call, answer)
                        for call, answer in zip(calls, answers, strict=True)
                        # one who asks what its topic cannot carry the answer of waits in vain
                        if type(answer) in call.reply_topic.events
                    ]
                )
            except Unavailable as error:
                # the callers still wait: try again until their deadlines
                self._problem = str(error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._problem = None
                return

    def _reply(self, call: ReceivedCall, answer: CallReply) -> Record:
        return self._producer.record(
            call.reply_topic,
            answer,
            key=call.call_id,
            partition=call.reply_partition,
            extra_headers=(("ce_correlationid", call.call_id.encode()),),
        )


def _as_call(received: codec.Received) -> ReceivedCall:
    try:
        return ReceivedCall(
            command=received.event,
            call_id=received.envelope.id,
            source=received.envelope.source,
            expires_at=datetime.fromisoformat(received.headers["expires_at"].decode()),
            reply_topic=_by_name[received.headers["reply_topic"].decode()],
            reply_partition=int(received.headers["reply_partition"]),
        )
    except (KeyError, ValueError) as error:
        raise PoisonRecord("no reply address or expiry") from error
