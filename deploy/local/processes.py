"""Child processes that outlive the command that started them, and are found again by file.

A process is ours only when its pid file names it *and* the process with that id started when the
file says and runs the command that the file says. Ids are reused; nothing else is ever signalled.
"""

import contextlib
import hashlib
import json
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.local.errors import StackError
from deploy.local.places import Places
from deploy.local.private_files import read_json, write_private_json

_START_TOLERANCE_SECONDS = 2.0  # start times are counted from boot, and clocks are corrected
_KILL_DEADLINE_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How to run one process.

    Attributes:
        inputs: the text of configuration files that the program reads; part of the fingerprint.
        user_id: the user to become, or None to stay who we are (only root may choose).
        stop_signal: what asks it to end in an orderly way.
        stop_deadline_seconds: how long it may take over that before it is killed.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    inputs: str = ""
    user_id: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_deadline_seconds: float = 20.0

    @property
    def fingerprint(self) -> str:
        """Equal for equal commands; differs as soon as an option changes one."""
        parts = [self.arguments, sorted(self.environment.items()), self.inputs, self.user_id]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process of this stack that is alive."""

    name: str
    pid: int
    started_at: float
    fingerprint: str
    stop_signal: signal.Signals
    stop_deadline_seconds: float

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process and its children."""
        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            for each in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += int(each.memory_info().rss)
        return total


class Processes:
    """The processes below one root."""

    def __init__(self, places: Places) -> None:
        self._places = places
        # Kept so that a child that ends is reaped while this program lives.
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def running(self, name: str) -> Running | None:
        """The process of that name, or None when it is not alive."""
        record = read_json(self._file(name))
        if record is None or not self._is_alive(record):
            return None
        return Running(
            name=name,
            pid=record["pid"],
            started_at=record["started_at"],
            fingerprint=record["fingerprint"],
            stop_signal=signal.Signals(record["stop_signal"]),
            stop_deadline_seconds=record["stop_deadline_seconds"],
        )

    def names(self) -> list[str]:
        """All that were started and not stopped, in the order of their start."""
        files = sorted(self._places.runs.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        return [file.stem for file in files]

    def start(self, name: str, command: Command) -> int:
        """Start it in a session of its own, its output appended to its log; gives its id.

        Raises:
            StackError: the program cannot be run.
        """
        log = self._places.log(name)
        with log.open("ab") as output:
            try:
                child = subprocess.Popen(
                    command.arguments,
                    env=dict(command.environment),
                    cwd=command.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=command.user_id,
                    group=command.user_id,
                    extra_groups=None if command.user_id is None else [],
                )
            except OSError as error:
                raise StackError(f"{name} cannot be started: {error}", log=log) from error
        self._children[child.pid] = child
        write_private_json(
            self._file(name),
            {
                "pid": child.pid,
                "started_at": psutil.Process(child.pid).create_time(),
                "arguments": list(command.arguments),
                "fingerprint": command.fingerprint,
                "stop_signal": int(command.stop_signal),
                "stop_deadline_seconds": command.stop_deadline_seconds,
            },
        )
        return child.pid

    def stop(self, name: str) -> None:
        """Ask it to end, wait, kill it if it does not; fine when it is not running."""
        running = self.running(name)
        if running is not None:
            self._signal(running.pid, running.stop_signal)
            if not self._wait_for_end(name, running.stop_deadline_seconds):
                self._signal(running.pid, signal.SIGKILL)
                self._wait_for_end(name, _KILL_DEADLINE_SECONDS)
        self._file(name).unlink(missing_ok=True)

    def kill(self, name: str) -> None:
        """End it at once, as a crash would; its file stays, so `up` knows that it is missing.

        Raises:
            StackError: it is not running.
        """
        running = self.running(name)
        if running is None:
            raise StackError(f"{name} is not running")
        self._signal(running.pid, signal.SIGKILL)
        self._wait_for_end(name, _KILL_DEADLINE_SECONDS)

    def _wait_for_end(self, name: str, deadline_seconds: float) -> bool:
        deadline = time.monotonic() + deadline_seconds
        while self.running(name) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_AGAIN_SECONDS)
        return True

    def _is_alive(self, record: Mapping[str, object]) -> bool:
        pid, started_at = record["pid"], record["started_at"]
        if not isinstance(pid, int) or not isinstance(started_at, float):
            return False
        child = self._children.get(pid)
        if child is not None:
            # Asked the parent's way: for a moment after its start a child shows no command line.
            return child.poll() is None
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                return bool(
                    process.status() != psutil.STATUS_ZOMBIE
                    and abs(process.create_time() - started_at) < _START_TOLERANCE_SECONDS
                    and process.cmdline() == record["arguments"]
                )
        except psutil.Error:
            return False

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).send_signal(number)

    def _file(self, name: str) -> Path:
        return self._places.runs / f"{name}.json"
