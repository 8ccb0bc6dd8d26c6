"""Errors that tell the loop which meets them what to do.

    PoisonRecord   the record can never be understood    -> dead letters, go on
    Unavailable    something we need does not answer     -> 503 to a client; a consumer pauses and
                                                            tries the same record again
    anything else  a bug                                 -> log once, exit non-zero

A refusal (no credits, no such id) is not an error: the domain returns it as a value.
"""


class OpenRouteError(Exception):
    """The root of the errors that this project raises on purpose."""


class PoisonRecord(OpenRouteError):  # noqa: N818 - the name is what the record is
    """A record that no retry will make readable. `reason` is a short class, never its content."""

    def __init__(self, reason: str) -> None:
        """Keep the reason, which travels in the dead letter's header."""
        super().__init__(reason)
        self.reason = reason


class Unavailable(OpenRouteError):  # noqa: N818 - the name is the state
    """A dependency (`postgres`, `vault`, `kafka`, `billing`, ...) did not answer in its time."""

    def __init__(self, dependency: str, detail: str = "") -> None:
        """Name the dependency; the detail is for the log and holds no secret."""
        super().__init__(f"{dependency} is unavailable{': ' + detail if detail else ''}")
        self.dependency = dependency
        self.detail = detail
