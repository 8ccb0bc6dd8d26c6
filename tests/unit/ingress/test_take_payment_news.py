"""Each event ends booked, passed over or reported; what cannot be any of these now comes again."""

from dataclasses import dataclass, field

import pytest
from typing_extensions import override

from services.ingress.domain.stripe_events import StripeEvent, read_event
from services.ingress.ports import Accounts, PaymentMeasurements, Payments
from services.ingress.use_cases.take_payment_news import TakePaymentNews
from shared.errors import Unavailable
from shared.events.envelope import CallReply, Refused
from shared.events.payments import (
    PaymentKept,
    PaymentNotBooked,
    RecordDispute,
    RecordPayment,
    RecordRefund,
)
from shared.ids import AccountId
from tests.support.stripe_events import charge, event, session

ACCOUNT = AccountId("0192aaaa-0000-7000-8000-000000000001")
KEPT = PaymentKept(payment_id="stripe/pi_1", account_id=ACCOUNT, outcome="booked")


@dataclass
class World(Accounts, Payments, PaymentMeasurements):
    """Accounts, billing, Kafka and metrics, each of which can be away."""

    answer: CallReply | None = KEPT
    takes_reports: bool = True
    told: list[RecordPayment | RecordRefund | RecordDispute] = field(default_factory=list)
    reported: list[PaymentNotBooked] = field(default_factory=list)
    counted: list[tuple[str, str]] = field(default_factory=list)

    @override
    async def exists(self, account_id: AccountId) -> bool:
        return account_id == ACCOUNT

    @override
    async def tell(self, command: RecordPayment | RecordRefund | RecordDispute) -> CallReply:
        self.told.append(command)
        if self.answer is None:
            raise Unavailable("billing")
        return self.answer

    @override
    async def report(self, report: PaymentNotBooked) -> None:
        if not self.takes_reports:
            raise Unavailable("kafka")
        self.reported.append(report)

    @override
    def taken(self, event_type: str, outcome: str) -> None:
        self.counted.append((event_type, outcome))

    async def take(self, taken: StripeEvent) -> str:
        return await TakePaymentNews(accounts=self, payments=self, measurements=self)(taken)


def paid(account: str = ACCOUNT) -> StripeEvent:
    body = event("checkout.session.completed", session("pi_1", account, 500), event_id="evt_1")
    return read_event(body, live_mode=False)


async def test_a_payment_of_a_known_account_is_told_to_billing() -> None:
    world = World()
    assert await world.take(paid()) == "booked"
    assert [each.payment_id for each in world.told] == ["stripe/pi_1"]
    assert world.counted == [("checkout.session.completed", "booked")]


async def test_a_payment_of_an_unknown_account_never_reaches_billing() -> None:
    world = World()
    assert await world.take(paid("0192aaaa-0000-7000-8000-000000000009")) == "not_booked"
    assert world.told == []
    (report,) = world.reported
    assert (report.payment_id, report.amount, report.event_id) == ("stripe/pi_1", 500, "evt_1")


async def test_what_billing_refuses_is_reported_in_its_words() -> None:
    world = World(answer=Refused(code="conflict", message="another account"))
    assert await world.take(paid()) == "not_booked"
    assert world.reported[0].reason == "another account"


async def test_nothing_is_taken_while_billing_or_the_dead_letters_are_away() -> None:
    for world, account in (
        (World(answer=None), ACCOUNT),
        (World(takes_reports=False), "0192aaaa-0000-7000-8000-000000000009"),
    ):
        with pytest.raises(Unavailable):
            await world.take(paid(account))
        assert world.counted == []


async def test_an_answer_of_another_kind_is_no_booking() -> None:
    with pytest.raises(Unavailable):
        await World(answer=CallReply()).take(paid())


async def test_a_refund_is_told_without_its_account_and_other_types_are_passed_over() -> None:
    world = World()
    refunded = event("charge.refunded", charge("pi_1", 5), event_id="evt_2")
    assert await world.take(read_event(refunded, live_mode=False)) == "booked"
    other = event("invoice.paid", {"id": "in_1"}, event_id="evt_3")
    assert await world.take(read_event(other, live_mode=False)) == "ignored"
    assert world.counted == [("charge.refunded", "booked"), ("other", "ignored")]
    assert len(world.told) == 1
