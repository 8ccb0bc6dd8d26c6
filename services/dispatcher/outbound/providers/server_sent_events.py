"""Server-sent events, read as they come in pieces of any size.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. Only `data` matters to
chat completions; comments, `event`, `id` and `retry` are passed over. Lines end with LF, CRLF or CR.
"""

from typing import Final

LINE_BYTES_MAX: Final = 1024 * 1024
"""The longest line, and the longest event, that is taken."""
STREAM_BYTES_MAX: Final = 64 * 1024 * 1024
"""The most that one stream may bring."""

_BOM: Final = b"\xef\xbb\xbf"
_DATA: Final = b"data"


class StreamTooLarge(Exception):  # noqa: N818 - the name is what happened
    """A line, an event or the whole stream is over its limit."""


class EventReader:
    """Turns pieces of a byte stream into the data of its events."""

    __slots__ = (
        "_begun",
        "_data",
        "_data_bytes",
        "_line",
        "_line_bytes",
        "_read_bytes",
        "_returned",
    )

    def __init__(self) -> None:
        """Begin before the first byte."""
        self._begun = False
        self._line: list[bytes] = []  # pieces of the line that has no end yet
        self._line_bytes = 0
        self._data: list[bytes] = []  # lines of the event that has no end yet
        self._data_bytes = 0
        self._read_bytes = 0
        self._returned = False  # the last byte was a CR, so a LF that follows belongs to it

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that this piece completes. Raises StreamTooLarge."""
        self._read_bytes += len(piece)
        if self._read_bytes > STREAM_BYTES_MAX:
            raise StreamTooLarge("stream")
        if self._returned and piece:
            self._returned = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._returned = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in piece:
            self._keep(piece)
            return []
        if self._line:
            self._line.append(piece)
            piece = b"".join(self._line)
        lines = piece.split(b"\n")
        rest = lines.pop()
        self._line, self._line_bytes = [], 0
        if not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        events = self._events(lines)
        self._keep(rest)
        return events

    def end(self) -> list[bytes]:
        """What the end of the stream completes: an event whose blank line never came.

        The standard drops it; providers are known to end so, and a half event does not parse.
        """
        lines = [b"".join(self._line), b""]
        self._line, self._line_bytes = [], 0
        return self._events(lines)

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._line_bytes += len(rest)
            if self._line_bytes > LINE_BYTES_MAX:
                raise StreamTooLarge("line")
            self._line.append(rest)

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data, self._data_bytes = [], 0
                continue
            if len(line) > LINE_BYTES_MAX:
                raise StreamTooLarge("line")
            if line.startswith(_DATA):
                self._take(line)
        return events

    def _take(self, line: bytes) -> None:
        if line[4:6] == b": ":
            value = line[6:]
        elif line[4:5] == b":":
            value = line[5:]
        elif len(line) == len(_DATA):
            value = b""
        else:
            return  # another field whose name begins alike
        self._data_bytes += len(value)
        if self._data_bytes > LINE_BYTES_MAX:
            raise StreamTooLarge("event")
        self._data.append(value)
