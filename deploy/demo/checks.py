"""Telling a story in the terminal, each step of it checked."""

import json
from typing import Any

import msgspec
from rich.console import Console

from shared.events.codec import Received


class Story:
    """Counts what was checked; a story with a broken check goes on, and ends in failure."""

    def __init__(self, console: Console) -> None:
        """Tell it on `console`."""
        self._console = console
        self._steps = 0
        self.passed = 0
        self.failed = 0

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._steps += 1
        self._console.print(f"\n[bold cyan]{self._steps:2}  {title}[/]", highlight=False)

    def tell(self, text: str) -> None:
        """Say something that is not checked."""
        self._console.print(f"    {text}", highlight=False, markup=False)

    def check(self, text: str, *, holds: bool, saw: object = None) -> None:
        """Check one thing; when it does not hold, say what was seen instead."""
        if holds:
            self.passed += 1
            self._console.print(f"    [green]✓[/] {text}", highlight=False)
        else:
            self.failed += 1
            self._console.print(f"    [red]✗ {text}[/]  saw: {saw!r}", highlight=False)

    def event(self, received: Received) -> None:
        """Show an event as it was read from Kafka."""
        name = received.envelope.type
        place = f"{received.topic} partition {received.partition} offset {received.offset}"
        self._console.print(f"    [magenta]{name}[/] read from {place}", highlight=False)
        self.json(msgspec.to_builtins(received.event))

    def json(self, value: Any) -> None:
        """Show a value as JSON."""
        for line in json.dumps(value, indent=2).splitlines():
            self._console.print(f"      [dim]{line}[/]", highlight=False)

    def end(self) -> int:
        """Say how it went; the exit status."""
        if self.failed:
            self._console.print(
                f"\ndemo: {self.failed} of {self.passed + self.failed} checks failed"
            )
            return 1
        self._console.print(f"\ndemo: {self.passed} checks passed", highlight=False)
        return 0
