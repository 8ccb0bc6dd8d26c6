"""One process of the stack, as data: how it is run, when it is ready, what comes before and after."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from deploy.local.processes import Command


class Part(enum.StrEnum):
    """The layers of a stack, started in this order."""

    INFRASTRUCTURE = "infrastructure"
    SERVICES = "services"


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A process that the stack keeps running.

    Attributes:
        name: also of its log and of its entry in `pids`.
        port: the one that people ask for (the API's, else health's).
        prepare: makes its files before the start; must be repeatable.
        command: read at the start, when everything that it depends on has run.
        ready: whether it serves now; answers within a second, never raises.
        configure: what it needs once it serves, on every `up`; must be repeatable.
        starts_max: how often a start that ends at once is tried.
    """

    name: str
    part: Part
    port: int
    command: Callable[[], Command]
    ready: Callable[[], bool]
    ready_deadline_seconds: float
    prepare: Callable[[], None] = _nothing
    configure: Callable[[], None] = _nothing
    starts_max: int = 1
