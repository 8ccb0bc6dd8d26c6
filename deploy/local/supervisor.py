"""Brings components to the state "running as described and ready", and back."""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from deploy.local.component import Component
from deploy.local.errors import StackError
from deploy.local.places import Places
from deploy.local.processes import Command, Processes
from deploy.local.progress import Progress

_LOOK_AGAIN_SECONDS = 0.05
_START_AGAIN_SECONDS = 0.5


class Supervisor:
    """Starts, waits for and stops the processes of one stack.

    Attributes:
        started: what this run started, in order, so that a failed `up` can take it back.
    """

    def __init__(self, places: Places, processes: Processes, progress: Progress) -> None:
        self._places = places
        self._processes = processes
        self._progress = progress
        self._given_up = threading.Event()
        self.started: list[str] = []

    def ensure(self, components: Iterable[Component]) -> None:
        """Have all of these running as described, ready and configured; side by side.

        Raises:
            StackError: the first that failed; the others are no longer waited for.
        """
        wanted = list(components)
        with ThreadPoolExecutor(max(1, len(wanted))) as pool:
            try:
                outcomes = [pool.submit(self._ensure, each) for each in wanted]
                failures = [error for each in outcomes if (error := each.exception()) is not None]
            except BaseException:
                self._given_up.set()
                raise
        # Those that were merely waiting when another failed have nothing to tell.
        for failure in sorted(failures, key=lambda error: isinstance(error, _GivenUpError)):
            raise failure

    def stop_all(self, names: Iterable[str]) -> None:
        """End these processes one after the other, the last of the list first."""
        for name in reversed(list(names)):
            with self._progress.step(name, done="stopped"):
                self._processes.stop(name)

    def _ensure(self, component: Component) -> None:
        with self._progress.step(component.name):
            try:
                component.prepare()
                self._run(component, component.command())
                component.configure()
            except StackError:
                self._given_up.set()
                raise
            except Exception as error:
                self._given_up.set()
                raise StackError(
                    f"{component.name} cannot be set up: {type(error).__name__}: {error}",
                    log=self._places.log(component.name),
                ) from error

    def _run(self, component: Component, command: Command) -> None:
        running = self._processes.running(component.name)
        if running is not None and running.fingerprint != command.fingerprint:
            self._processes.stop(component.name)
            running = None
        if running is not None:
            self._wait_until_ready(component)
            return
        for attempt in range(1, component.starts_max + 1):
            self._processes.start(component.name, command)
            if component.name not in self.started:
                self.started.append(component.name)
            try:
                self._wait_until_ready(component)
            except _EndedError:
                if attempt == component.starts_max:
                    raise
                time.sleep(_START_AGAIN_SECONDS)
            else:
                return

    def _wait_until_ready(self, component: Component) -> None:
        deadline = time.monotonic() + component.ready_deadline_seconds
        log = self._places.log(component.name)
        while not component.ready():
            if self._given_up.is_set():
                raise _GivenUpError(f"{component.name} was no longer waited for", log=log)
            if self._processes.running(component.name) is None:
                raise _EndedError(f"{component.name} ended before it was ready", log=log)
            if time.monotonic() > deadline:
                seconds = component.ready_deadline_seconds
                raise StackError(f"{component.name} is not ready after {seconds:.0f} s", log=log)
            time.sleep(_LOOK_AGAIN_SECONDS)
        if self._processes.running(component.name) is None:
            # Somebody else answers on its port.
            raise _EndedError(f"{component.name} ended before it was ready", log=log)


class _EndedError(StackError):
    """The process is gone: another start may do better, where a deadline would not."""


class _GivenUpError(StackError):
    """Another component failed meanwhile."""
