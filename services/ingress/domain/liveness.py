"""When a generation is given up because nobody works at it any more.

Pure functions of times on one monotonic scale, in seconds. Nobody judges another dead while its own
heartbeat does not come back: a paused broker makes everyone look dead. `trusted_since` is the
moment from which our own heartbeat has been coming back, None while it does not.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

DISPATCHER_SILENCE_SECONDS_MAX: Final = 5.0
"""A generation once named whose dispatcher is silent for this long is lost."""
START_GRACE_SECONDS: Final = 1.0
"""After `start_by`, for what was begun just in time and is on its way to us."""
OWN_SILENCE_SECONDS_MAX: Final = 3.0
"""Our own heartbeat must have come back within this time, or we judge nobody."""
BROKER_SILENCE_SECONDS_MAX: Final = 30.0
"""Past this our answers cannot be saved by waiting: running ones end with an error of ours."""
DEADLINE_GRACE_SECONDS: Final = 5.0
"""After its deadline a generation's last frame may still be on its way."""


class Verdict(Enum):
    """Why a generation is given up."""

    NEVER_BEGUN = auto()
    DISPATCHER_LOST = auto()
    BROKER_LOST = auto()
    OUT_OF_TIME = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What is known of one generation. `heard_at` is None until a dispatcher has named it."""

    start_by: float
    deadline: float
    heard_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHeartbeat:
    """How our own heartbeat fares."""

    heard_at: float
    trusted_since: float | None

    @property
    def is_trusted(self) -> bool:
        """Whether others may be judged."""
        return self.trusted_since is not None


def heard(before: OwnHeartbeat, *, now: float) -> OwnHeartbeat:
    """Our heartbeat came back."""
    since = now if before.trusted_since is None else before.trusted_since
    return OwnHeartbeat(heard_at=now, trusted_since=since)


def at(before: OwnHeartbeat, *, now: float) -> OwnHeartbeat:
    """The same as of `now`: trust ends when nothing has come back for too long."""
    if before.is_trusted and now - before.heard_at > OWN_SILENCE_SECONDS_MAX:
        return OwnHeartbeat(heard_at=before.heard_at, trusted_since=None)
    return before


def judge(signs: Signs, own: OwnHeartbeat, *, now: float) -> Verdict | None:
    """None while there is reason to wait.

    After an interruption of the broker everybody gets the whole time again, from the moment when our
    own heartbeat came back.
    """
    if now > signs.deadline + DEADLINE_GRACE_SECONDS:
        return Verdict.OUT_OF_TIME
    if own.trusted_since is None:
        lost = now - own.heard_at > BROKER_SILENCE_SECONDS_MAX
        return Verdict.BROKER_LOST if lost else None
    if signs.heard_at is None:
        fair_start = max(
            signs.start_by + START_GRACE_SECONDS,
            own.trusted_since + DISPATCHER_SILENCE_SECONDS_MAX,
        )
        return Verdict.NEVER_BEGUN if now > fair_start else None
    silent_since = max(signs.heard_at, own.trusted_since)
    silent = now - silent_since > DISPATCHER_SILENCE_SECONDS_MAX
    return Verdict.DISPATCHER_LOST if silent else None
