"""Searching everything a stack keeps for a word that must be nowhere.

Looked at: every file below the stack's root (logs, Kafka's raw segments, PostgreSQL's data and
write-ahead log, OpenBao's data and audit log), every record of every topic as a consumer decodes
it (so decompressed), the values of each topic joined (a word cut in two by framing), every row of
every table as text, metrics. Each in plain, in base64 at any alignment, and in hex.
"""

import base64
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.postgres import folder_elsewhere
from deploy.local.stack import Stack
from shared.events.topics import TOPICS
from shared.kafka.admin import partition_counts
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import open_consumer

_PIECE_BYTES: Final = 4 * 1024 * 1024
_INDEX_SUFFIXES: Final = (".index", ".timeindex")
"""Kafka's preallocated offset tables: sparse, megabytes of zeros, numbers only."""
_POLL_MS: Final = 500


def forms(word: str) -> tuple[bytes, ...]:
    """The word as it might hide: plain, UTF-16, hex, and base64 at each alignment."""
    raw = word.encode()
    hidden = {raw, word.encode("utf-16-le"), raw.hex().encode(), raw.hex().upper().encode()}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        # the first and last characters also depend on the word's neighbours
        inner = encoded[4 if shift else 0 : len(encoded) - 4]
        hidden |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return tuple(hidden)


class Search:
    """Looks for some words in all that a stack keeps."""

    def __init__(self, stack: Stack, words: Iterable[str], *, besides: Iterable[Path]) -> None:
        """`besides` are files that rightly hold the words, such as the provider's own log."""
        self._stack = stack
        self._forms = [form for word in words for form in forms(word)]
        self._besides = set(besides)

    async def everywhere(self) -> list[str]:
        """Each place where a word was found."""
        return [
            *self.files(),
            *[place async for place in self.topics()],
            *[place async for place in self.tables()],
            *[place async for place in self.metrics()],
        ]

    def hit(self, content: bytes) -> bool:
        """Whether any form of any word is in there."""
        return any(form in content for form in self._forms)

    def files(self) -> Iterator[str]:
        """Files below the stack's root, and PostgreSQL's wherever it is."""
        overlap = max(map(len, self._forms))
        for root in self._roots():
            for file in root.rglob("*"):
                if (
                    file.suffix in _INDEX_SUFFIXES
                    or file in self._besides
                    or file.is_symlink()
                    or not file.is_file()
                ):
                    continue
                if self._file_has_it(file, overlap):
                    yield f"file {file}"

    def _roots(self) -> Iterator[Path]:
        yield self._stack.places.root
        elsewhere = folder_elsewhere(self._stack.places)
        if elsewhere.exists():
            yield elsewhere

    def _file_has_it(self, file: Path, overlap: int) -> bool:
        tail = b""
        with file.open("rb") as content:
            while piece := content.read(_PIECE_BYTES):
                if self.hit(tail + piece):
                    return True
                tail = piece[-overlap:]
        return False

    async def topics(self) -> AsyncGenerator[str]:
        """Every record from the beginning, alone and joined with its neighbours."""
        config = KafkaConfig(bootstrap_servers=str(self._stack.manifest["kafka"]))
        counts = await partition_counts(config.bootstrap_servers, [topic.name for topic in TOPICS])
        for topic in TOPICS:
            joined = bytearray()
            async with open_consumer(config) as consumer:
                async for record in _all_records(consumer, topic.name, counts[topic.name]):
                    headers = b"\0".join(
                        name.encode() + b"=" + value for name, value in record.headers
                    )
                    alone = (record.key or b"") + b"\0" + headers + b"\0" + (record.value or b"")
                    if self.hit(alone):
                        yield f"topic {topic.name} {record.partition}@{record.offset}"
                    joined += record.value or b""
            if self.hit(bytes(joined)):
                yield f"topic {topic.name}, values joined"

    async def tables(self) -> AsyncGenerator[str]:
        """Every row of every table of every service."""
        for service, url in self._stack.manifest["postgres"].items():
            connection = await asyncpg.connect(url)
            try:
                names = await connection.fetch(
                    "select format('%I.%I', schemaname, tablename) as name from pg_tables "
                    "where schemaname = $1",
                    service,
                )
                for (name,) in names:
                    # the name is PostgreSQL's own, quoted by it
                    rows = await connection.fetch(f"select t::text from {name} t")  # noqa: S608
                    if any(self.hit(text.encode()) for (text,) in rows):
                        yield f"table {service}.{name}"
            finally:
                await connection.close()

    async def metrics(self) -> AsyncGenerator[str]:
        """What each service tells Prometheus."""
        async with aiohttp.ClientSession() as session:
            for service, url in self._stack.manifest["metrics_urls"].items():
                async with session.get(url) as response:
                    if self.hit(await response.read()):
                        yield f"metrics of {service}"


async def _all_records(consumer: AIOKafkaConsumer, name: str, count: int) -> AsyncGenerator[Any]:
    partitions = [TopicPartition(name, partition) for partition in range(count)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    left = {tp for tp in partitions if await consumer.position(tp) < ends[tp]}
    while left:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                yield record
        left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
