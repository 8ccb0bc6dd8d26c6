"""Brings evidence of one subject together on disk, by the hash of its key.

What was added waits in memory up to BUFFERED_BYTES_MAX, then in one file a bucket below a temporary
folder; buckets are read back one by one. So memory is bounded by the buffer and the largest bucket,
a BUCKETS-th of everything.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from services.billing.domain.evidence import Evidence
from services.billing.ports.reconciliation import Row

BUCKETS: Final = 512
BUFFERED_BYTES_MAX: Final = 32 * 1024 * 1024
_LENGTH_BYTES: Final = 4
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[str, Evidence])


class SpilledGathering:
    """The port Gathering."""

    def __init__(self, folder: Path, *, buffered_bytes_max: int) -> None:
        """`folder` is empty and ours."""
        self._buffered_bytes_max = buffered_bytes_max
        self._folder = folder
        self._buffers = [bytearray() for _ in range(BUCKETS)]
        self._buffered_bytes = 0

    async def add(self, rows: Sequence[Row]) -> None:
        """Keep rows until they are asked for."""
        for row in rows:
            encoded = _encoder.encode(row)
            buffer = self._buffers[_bucket(row[0])]
            buffer += len(encoded).to_bytes(_LENGTH_BYTES) + encoded
            self._buffered_bytes += _LENGTH_BYTES + len(encoded)
        if self._buffered_bytes > self._buffered_bytes_max:
            await asyncio.to_thread(self._spill)

    async def groups(self) -> AsyncIterator[tuple[str, list[Evidence]]]:
        """Each key once, with all that was added under it."""
        for bucket in range(BUCKETS):
            for key, evidence in (await asyncio.to_thread(self._read, bucket)).items():
                yield key, evidence

    def _spill(self) -> None:
        for bucket, buffer in enumerate(self._buffers):
            if buffer:
                with self._file(bucket).open("ab") as file:
                    file.write(buffer)
                buffer.clear()
        self._buffered_bytes = 0

    def _read(self, bucket: int) -> dict[str, list[Evidence]]:
        file = self._file(bucket)
        content = (file.read_bytes() if file.exists() else b"") + self._buffers[bucket]
        groups: dict[str, list[Evidence]] = {}
        place = 0
        while place < len(content):
            begin = place + _LENGTH_BYTES
            place = begin + int.from_bytes(content[place:begin])
            key, evidence = _decoder.decode(content[begin:place])
            groups.setdefault(key, []).append(evidence)
        return groups

    def _file(self, bucket: int) -> Path:
        return self._folder / f"{bucket:03d}"


def _bucket(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=4).digest()) % BUCKETS


@asynccontextmanager
async def open_gathering(
    *, buffered_bytes_max: int = BUFFERED_BYTES_MAX
) -> AsyncIterator[SpilledGathering]:
    """A gathering whose folder (below TMPDIR) goes when the block ends."""
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="openroute-reconcile-")
    try:
        yield SpilledGathering(Path(folder.name), buffered_bytes_max=buffered_bytes_max)
    finally:
        await asyncio.to_thread(folder.cleanup)
