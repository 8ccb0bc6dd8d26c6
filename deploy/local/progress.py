"""What long commands show: spinners and counts on a terminal, a line a step elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self, TextIO

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_LINE_SECONDS: Final = 2.0


class Progress:
    """Shows steps; several may be under way at once, from several threads.

    Args:
        output: where to write, or None to stay silent (tests).
    """

    def __init__(self, output: TextIO | None) -> None:
        self._console = None if output is None else Console(file=output, highlight=False)
        self._bars: Bars | None = None
        if self._console is not None and self._console.is_terminal:
            self._bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    @contextmanager
    def step(self, what: str, *, done: str = "ready") -> Iterator[None]:
        """Show that `what` is under way, then how long it took or that it failed."""
        started = time.monotonic()
        task: TaskID | None = None if self._bars is None else self._bars.add_task(what)
        outcome = "failed"
        try:
            yield
            outcome = done
        finally:
            if self._bars is not None and task is not None:
                self._bars.remove_task(task)
            self.line(f"{what:<28} {outcome:<9} {time.monotonic() - started:5.1f} s")

    @contextmanager
    def count(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show how many of how many are done, as the given function is told; a line at the end.

        Without a terminal there is a line every few seconds too.
        """
        started = shown = time.monotonic()
        done = total = 0
        task: TaskID | None = None if self._bars is None else self._bars.add_task(what)

        def show(done_now: int, total_now: int) -> None:
            nonlocal done, total, shown
            done, total = done_now, total_now
            if self._bars is not None and task is not None:
                self._bars.update(task, description=f"{what} {done:,} of {total:,}")
            elif time.monotonic() - shown >= _LINE_SECONDS:
                shown = time.monotonic()
                self.line(f"{what} {done:,} of {total:,}")

        try:
            yield show
        finally:
            if self._bars is not None and task is not None:
                self._bars.remove_task(task)
            took = time.monotonic() - started
            self.line(f"{what:<28} {f'{done:,} of {total:,}':<9} {took:5.1f} s")

    def line(self, text: str) -> None:
        """Write one line that stays."""
        if self._console is not None:
            self._console.print(text, markup=False, soft_wrap=True)
