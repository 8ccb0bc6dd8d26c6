"""Several statements in one trip to the server."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from shared.postgres.pool import Connection

_PARAMETER: Final = re.compile(r"\$(\d+)")


class Together:
    """Statements whose effects are independent of one another; the callers of commands wait for trips.

    None of them sees what another does, and constraints between them are checked at their common end.
    """

    def __init__(self) -> None:
        """Nothing is to be done yet."""
        self._statements: list[tuple[str, int]] = []
        self._parameters: list[Sequence[Any]] = []

    def add(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add a statement whose parameters are the rows' columns as arrays; none without rows."""
        if rows:
            columns = list(zip(*rows, strict=True))
            self._statements.append((statement, len(columns)))
            self._parameters += columns

    async def run(self, connection: Connection) -> None:
        """Run all of it."""
        if self._statements:
            await connection.execute(_joined(tuple(self._statements)), *self._parameters)


@lru_cache(maxsize=256)
def _joined(statements: tuple[tuple[str, int], ...]) -> str:
    """`statements` with how many parameters each takes."""
    if len(statements) == 1:
        return statements[0][0]
    parts: list[str] = []
    before = 0
    for number, (statement, parameters) in enumerate(statements):
        renumbered = _renumbered(statement, before)
        parts.append(f"s{number} as ({renumbered})")
        before += parameters
    return f"with {', '.join(parts)} select"


def _renumbered(statement: str, before: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + before}", statement)
