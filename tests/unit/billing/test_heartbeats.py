from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from services.billing.domain.page import Entries
from services.billing.ports.ledger import Books, Transaction
from services.billing.use_cases.send_heartbeats import SendHeartbeats
from shared.errors import Unavailable
from shared.events.envelope import CallReply

T = TypeVar("T")


@dataclass
class SilentLedger:
    """Counts holds while its database answers; nothing else is asked of it here."""

    answers: bool = True

    async def count_open_holds(self) -> int:
        if not self.answers:
            raise Unavailable("postgres")
        return 3

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        raise NotImplementedError

    async def read_books(self) -> Books:
        raise NotImplementedError

    async def open_month(self, month: str) -> None:
        raise NotImplementedError


@dataclass
class KeptHeartbeats:
    sent: list[float] = field(default_factory=list)

    async def send(self, lag_seconds: float) -> None:
        self.sent.append(lag_seconds)


@dataclass
class KeptState:
    open_holds: int = 0

    def posted(self, entries: Entries, repeated: int, seconds: float) -> None: ...

    def served(self, answers: Sequence[CallReply], seconds: float) -> None: ...

    def not_collected(self, nano_usd: int) -> None: ...

    def expired(self, holds: int) -> None: ...

    def state(self, *, open_holds: int, lag_seconds: float) -> None:  # noqa: ARG002 - a port's
        self.open_holds = open_holds


async def test_a_heartbeat_tells_the_lag_while_all_is_well() -> None:
    heartbeats, state = KeptHeartbeats(), KeptState()
    sender = SendHeartbeats(
        SilentLedger(), heartbeats, state, lag_seconds=lambda: 1.5, problem=lambda: None
    )
    assert sender.silence() is not None
    await sender.beat()
    assert (heartbeats.sent, state.open_holds, sender.silence()) == ([1.5], 3, None)


async def test_silence_when_postgres_does_not_answer() -> None:
    heartbeats = KeptHeartbeats()
    sender = SendHeartbeats(
        SilentLedger(answers=False),
        heartbeats,
        KeptState(),
        lag_seconds=lambda: 0.0,
        problem=lambda: None,
    )
    with pytest.raises(Unavailable):
        await sender.beat()
    assert heartbeats.sent == []


async def test_silence_when_facts_are_not_booked() -> None:
    heartbeats = KeptHeartbeats()
    sender = SendHeartbeats(
        SilentLedger(), heartbeats, KeptState(), lag_seconds=lambda: 9.0, problem=lambda: "stuck"
    )
    await sender.beat()
    assert heartbeats.sent == []
    assert sender.silence() == "stuck"
