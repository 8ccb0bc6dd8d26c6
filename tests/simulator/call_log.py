"""The provider's own account of every call, which tests compare with what was billed.

With a file, each call is one JSON line with `"event": "start"` before anything is answered, and one
with `"event": "end"`. Lines are written at once, unbuffered, so they survive a kill of the process.
Prompts and answers are never written; credentials are, since they are made up.
"""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec

from shared.clock import Clock
from tests.simulator.usage import Usage

CALLS_MAX = 200_000

WireName = Literal[
    "openai", "azure", "anthropic", "bedrock", "gemini", "vertex-anthropic", "vertex-openai"
]
Operation = Literal["chat", "embeddings"]
Outcome = Literal["running", "completed", "failed", "client_gone"]


class Call(msgspec.Struct, kw_only=True):
    """One request for an answer. Its `id` is the `id` of the response.

    `outcome` is `completed` once the last byte of a whole answer was written, `failed` for error
    answers and spoilt ones, `client_gone` when the client left first. `usage` is what was used as
    far as the answer got (None for error answers); `usage_told` whether the client was told.
    """

    index: int
    id: str
    wire: WireName
    operation: Operation = "chat"
    model: str | None
    credential: str | None
    streamed: bool
    started: datetime
    ended: datetime | None = None
    status: int | None = None
    outcome: Outcome = "running"
    usage: Usage | None = None
    usage_told: bool = False


class _Line(Call, kw_only=True):
    event: Literal["start", "end"]


_ENCODER = msgspec.json.Encoder()
_START = b'{"event":"start",'
_END = b'{"event":"end",'


class CallLog:
    """Calls in memory, at most `calls_max` of the newest, and in a file when there is one."""

    def __init__(
        self,
        clock: Clock,
        *,
        id_prefix: str,
        file: FileIO | None = None,
        calls_max: int = CALLS_MAX,
    ) -> None:
        """`id_prefix` makes ids unique among runs; `calls_max` 0 keeps none in memory."""
        self._clock = clock
        self._id_prefix = id_prefix
        self._file = file
        self._calls: deque[Call] = deque(maxlen=calls_max)
        self._count = 0

    @property
    def next_index(self) -> int:
        """The index that the next call will get; indexes never start again."""
        return self._count

    def now(self) -> datetime:
        """The time by the clock of the log."""
        return self._clock.now()

    def begin(
        self,
        *,
        wire: WireName,
        model: str | None,
        credential: str | None,
        streamed: bool,
        operation: Operation = "chat",
    ) -> Call:
        """Note a call that has arrived."""
        call = Call(
            index=self._count,
            id=f"{'msg_' if wire == 'anthropic' else 'chatcmpl-'}{self._id_prefix}{self._count:08d}",
            wire=wire,
            operation=operation,
            model=model,
            credential=credential,
            streamed=streamed,
            started=self._clock.now(),
        )
        self._count += 1
        self._calls.append(call)
        self._write(_START, call)
        return call

    def end(self, call: Call, outcome: Outcome) -> None:
        """Note how a call ended; only the first ending counts."""
        if call.ended is not None:
            return
        call.ended = self._clock.now()
        call.outcome = outcome
        self._write(_END, call)

    def since(self, index: int = 0) -> Sequence[Call]:
        """The calls in memory with this index or a later one, oldest first."""
        if not self._calls:
            return []
        return list(islice(self._calls, max(0, index - self._calls[0].index), None))

    def clear(self) -> None:
        """Forget the calls in memory; the file keeps its lines."""
        self._calls.clear()

    def _write(self, opening: bytes, call: Call) -> None:
        if self._file is not None:
            self._file.write(opening + _ENCODER.encode(call)[1:] + b"\n")


def read_calls(path: Path) -> list[Call]:
    """The calls of a log file, each as its last line says, in order of arrival.

    A torn last line, as a kill can leave it, is skipped.
    """
    calls: dict[str, Call] = {}
    lines = path.read_bytes().split(b"\n")
    for line in lines[:-1]:
        call = msgspec.json.decode(line, type=_Line)
        calls[call.id] = call
    return list(calls.values())
