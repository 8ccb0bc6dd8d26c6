"""What the simulator does with a call is chosen by the credential that the call presents.

A script set through the control API wins; without one, a marker inside the credential
(`sk-...-429-...`) decides; without a marker the call succeeds.
"""

import re
from typing import Literal

import msgspec

from tests.simulator.performance import Performance

CREDENTIALS_MAX = 10_000
SECONDS_MAX = 600
HUGE_BYTES_DEFAULT = 32 * 1024 * 1024


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Ok(_Step, frozen=True, tag="ok"):
    """A whole answer. `pause_ms` between chunks; cached and reasoning tokens are reported."""

    pause_ms: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(
            pause_ms=self.pause_ms,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
        )


class Status(_Step, frozen=True, tag="status"):
    """An error answer. `code` picks among those of one status (`insufficient_quota`, ...)."""

    status: int
    retry_after: str | None = None
    code: str | None = None


class SlowFirstByte(_Step, frozen=True, tag="slow_first_byte"):
    """Not even a header for `seconds`, then a whole answer."""

    seconds: float = 3.0

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(delay_seconds=self.seconds)


class CutAfter(_Step, frozen=True, tag="cut_after"):
    """The connection drops after `chunks` pieces of content (plain: half-way through the body)."""

    chunks: int = 3

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(ending="cut", chunks=self.chunks)


class EndWithoutDone(_Step, frozen=True, tag="end_without_done"):
    """The stream just ends, properly closed, after `chunks` pieces (plain: half of the JSON)."""

    chunks: int = 3

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(ending="clean", chunks=self.chunks)


class ErrorEventFirst(_Step, frozen=True, tag="error_event_first"):
    """Status 200 and then an error object as the first event (plain: as the body)."""

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(ending="error_event")


class ErrorEventAfter(_Step, frozen=True, tag="error_event_after"):
    """An error object as an event after `chunks` pieces (plain: as the body, status 200)."""

    chunks: int = 2

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(ending="error_event", chunks=self.chunks)


class MissingUsage(_Step, frozen=True, tag="missing_usage"):
    """A whole answer that never says what it used."""

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(usage_told=False)


class EmptyCompletion(_Step, frozen=True, tag="empty_completion"):
    """An answer of no words and 0 completion tokens."""

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(empty=True)


class Hang(_Step, frozen=True, tag="hang"):
    """Nothing at all until the client leaves (or ten minutes pass)."""


class Garbage(_Step, frozen=True, tag="garbage"):
    """Status 200 and an HTML page, as from a proxy in between."""


class ConnectionReset(_Step, frozen=True, tag="connection_reset"):
    """A TCP reset before the first byte."""


class Huge(_Step, frozen=True, tag="huge"):
    """An answer whose single text is `size_bytes` long."""

    size_bytes: int = HUGE_BYTES_DEFAULT


class CachedTokens(_Step, frozen=True, tag="cached_tokens"):
    """A whole answer; `tokens` of the prompt (at most all of it) came from the cache.

    `written` more went into it, where the provider tells so.
    """

    tokens: int
    written: int = 0

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(cached_tokens=self.tokens, cache_write_tokens=self.written)


class ReasoningTokens(_Step, frozen=True, tag="reasoning_tokens"):
    """A whole answer that cost `tokens` more for thinking."""

    tokens: int

    @property
    def performance(self) -> Performance:
        """How it is given."""
        return Performance(reasoning_tokens=self.tokens)


StepOfAll = (
    Ok
    | Status
    | SlowFirstByte
    | CutAfter
    | EndWithoutDone
    | ErrorEventFirst
    | ErrorEventAfter
    | MissingUsage
    | EmptyCompletion
    | Hang
    | Garbage
    | ConnectionReset
    | CachedTokens
    | ReasoningTokens
)
Step = StepOfAll | Huge


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps, one a call, and what comes after the last one."""

    script: list[Step]
    repeat: Literal["last", "loop", "once-then-ok"] = "last"


WELL_KNOWN: dict[str, Step] = {
    "400": Status(status=400),
    "401": Status(status=401),
    "402": Status(status=402),
    "403": Status(status=403),
    "404": Status(status=404),
    "408": Status(status=408),
    "429": Status(status=429, retry_after="2"),
    "500": Status(status=500),
    "502": Status(status=502),
    "503": Status(status=503),
    "529": Status(status=529),
    "quota": Status(status=429, code="insufficient_quota"),
    "context": Status(status=400, code="context_length_exceeded"),
    "filter": Status(status=400, code="content_filter"),
    "slow": SlowFirstByte(),
    "cut": CutAfter(),
    "enddone": EndWithoutDone(),
    "errorfirst": ErrorEventFirst(),
    "errorafter": ErrorEventAfter(),
    "nousage": MissingUsage(),
    "empty": EmptyCompletion(),
    "hang": Hang(),
    "garbage": Garbage(),
    "reset": ConnectionReset(),
    "huge": Huge(),
}
"""Marker → step: a credential that contains `-<marker>-` takes this step on every call."""

_MARKER = re.compile("-(" + "|".join(WELL_KNOWN) + ")-")
_VALID = re.compile(r"sk-|azure-|ABSK|A[KS]IA|[0-9a-fA-F]{32,}$")
_OK = Ok()


class _Progress:
    __slots__ = ("position", "script")

    def __init__(self, script: Script) -> None:
        self.script = script
        self.position = 0

    def step(self) -> Step:
        steps = self.script.script
        if self.position < len(steps):
            return steps[self.position]
        match self.script.repeat:
            case "last":
                return steps[-1]
            case "loop":
                return steps[self.position % len(steps)]
            case "once-then-ok":
                return _OK


class ScriptBook:
    """Every credential's script and how far it has come."""

    def __init__(self) -> None:
        self._scripts: dict[str, _Progress] = {}

    def put(self, credential: str, script: Script) -> None:
        """Set a credential's script and begin it anew. ValueError when it is empty or one too many."""
        if not script.script:
            raise ValueError("a script needs at least one step")
        if len(self._scripts) >= CREDENTIALS_MAX and credential not in self._scripts:
            raise ValueError(f"at most {CREDENTIALS_MAX} credentials can be scripted")
        self._scripts[credential] = _Progress(script)

    def remove(self, credential: str) -> bool:
        """Forget a credential's script; whether there was one."""
        return self._scripts.pop(credential, None) is not None

    def clear(self) -> None:
        """Forget every script."""
        self._scripts.clear()

    def accepts(self, credential: str) -> bool:
        """Whether the provider knows this credential at all."""
        if credential in self._scripts:
            return True
        return "-invalid" not in credential and _VALID.match(credential) is not None

    def take(self, credential: str) -> Step:
        """The step of this call; the next call gets the next one."""
        progress = self._scripts.get(credential)
        if progress is None:
            return self._well_known(credential)
        step = progress.step()
        progress.position += 1
        return step

    def peek(self, credential: str) -> Step:
        """The step that the next call will take."""
        progress = self._scripts.get(credential)
        return self._well_known(credential) if progress is None else progress.step()

    @staticmethod
    def _well_known(credential: str) -> Step:
        found = _MARKER.search(credential)
        return WELL_KNOWN[found[1]] if found else _OK
