"""Fakes of what ingress asks of the world."""

from datetime import UTC, datetime, timedelta

from typing_extensions import override

from services.ingress.domain.api_key import Caller
from services.ingress.ports import Announcements, ApiKeys, Measurements
from shared.errors import Unavailable
from shared.ids import AccountId, ApiKeyHash, GenerationId, MemberId, RunId


class FrozenClock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def advance(self, seconds: float) -> None:
        self._seconds += seconds


class InMemoryApiKeys(ApiKeys):
    """Books that can be away."""

    def __init__(self) -> None:
        self.callers: dict[ApiKeyHash, Caller] = {}
        self.is_away = False
        self.lookups = 0

    @override
    async def find(self, api_key_hash: ApiKeyHash) -> Caller | None:
        self.lookups += 1
        if self.is_away:
            raise Unavailable("postgres")
        return self.callers.get(api_key_hash)


class RecordedAnnouncements(Announcements):
    """Keeps what was announced."""

    def __init__(self) -> None:
        self.cancelled: list[tuple[str, str | None, str]] = []
        self.abandoned: list[tuple[str, str]] = []

    @override
    def cancel(self, generation_id: GenerationId, *, run_id: RunId | None, reason: str) -> None:
        self.cancelled.append((generation_id, run_id, reason))

    @override
    def abandon(self, generation_id: GenerationId, *, account_id: AccountId, reason: str) -> None:
        self.abandoned.append((generation_id, reason))


class NoMeasurements(Measurements):
    """Counts nothing."""

    @override
    def frame_read(self) -> None:
        return


def caller_of(api_key_hash: ApiKeyHash, *, account_id: str = "a-1") -> Caller:
    return Caller(
        account_id=AccountId(account_id),
        api_key_hash=api_key_hash,
        member_id=MemberId("m-1"),
        label="sk-or-v1-abc...xyz",
        is_management=False,
    )
