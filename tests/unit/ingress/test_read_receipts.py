"""A receipt that is not there yet is waited for, for a while, if it may still come."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.use_cases.read_receipts import ReadReceipts
from shared.errors import Unavailable
from shared.events.envelope import CallReply, Event, Refused
from shared.events.receipts import Charge, Receipt, ReceiptFound
from shared.ids import AccountId, ApiKeyHash, GenerationId
from tests.unit.billing.made import generation

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
NOT_FOUND = Refused(code="not_found", message="there is no such generation")
CALLER = Caller(
    account_id=AccountId("a"),
    api_key_hash=ApiKeyHash("ab" * 32),
    member_id=None,
    label="sk-...",
    is_management=False,
)


class TurningClock:
    """Whose monotonic time passes with each look at it."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        self._seconds += 0.1
        return self._seconds


class ScriptedBilling:
    """Answers in order; the last answer for ever."""

    def __init__(self, *answers: CallReply) -> None:
        self._answers: Sequence[CallReply] = answers
        self.asked: list[Event] = []

    async def ask(self, query: Event, *, account_id: AccountId) -> CallReply:
        assert account_id == CALLER.account_id
        self.asked.append(query)
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


def found(generation_id: GenerationId) -> ReceiptFound:
    return ReceiptFound(
        receipt=Receipt(
            generation_id=generation_id,
            account_id=CALLER.account_id,
            outcome="completed",
            charge=Charge(kind="nothing"),
            started_at=NOW,
            finished_at=NOW,
            posted_at=NOW,
        )
    )


def reader(billing: ScriptedBilling) -> ReadReceipts:
    return ReadReceipts(
        billing=billing, clock=TurningClock(), generation_seconds_max=600, wait_seconds_max=1.0
    )


async def test_a_receipt_that_comes_a_little_later_is_the_answer() -> None:
    generation_id = generation(1, NOW - timedelta(seconds=2))
    billing = ScriptedBilling(NOT_FOUND, NOT_FOUND, found(generation_id))

    receipt = await reader(billing).one(CALLER, generation_id)

    assert isinstance(receipt, Receipt)
    assert len(billing.asked) == 3


async def test_a_receipt_that_never_comes_is_not_found_in_the_end() -> None:
    billing = ScriptedBilling(NOT_FOUND)

    refusal = await reader(billing).one(CALLER, generation(1, NOW))

    assert isinstance(refusal, Refusal)
    assert refusal.status == 404
    assert len(billing.asked) > 2


@pytest.mark.parametrize("age", [timedelta(minutes=12), timedelta(minutes=-2)])
async def test_what_cannot_come_any_more_is_not_waited_for(age: timedelta) -> None:
    billing = ScriptedBilling(NOT_FOUND)

    refusal = await reader(billing).one(CALLER, generation(1, NOW - age))

    assert isinstance(refusal, Refusal)
    assert len(billing.asked) == 1


async def test_an_answer_of_another_kind_is_no_404() -> None:
    billing = ScriptedBilling(Refused(code="internal", message="broken"))

    with pytest.raises(Unavailable):
        await reader(billing).one(CALLER, generation(1, NOW))
