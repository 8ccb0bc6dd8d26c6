"""What goes wrong in a stack, as one line that a person can act on."""

from pathlib import Path


class StackError(Exception):
    """Says what failed and, where there is one, which log tells why.

    Attributes:
        log: the log file to read, or None when the sentence says it all.
    """

    def __init__(self, sentence: str, *, log: Path | None = None) -> None:
        self.log = log
        super().__init__(sentence if log is None else f"{sentence}; its log: {log}")
