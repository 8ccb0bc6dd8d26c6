"""What a payment provider says, in whatever order and however often, comes to the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.domain.credits import add_credits
from services.billing.domain.ledger import LedgerAccount
from services.billing.domain.page import Page
from services.billing.domain.record_payment import record_dispute, record_payment, record_refund
from services.billing.domain.settle import settle_finished
from shared.events.billing import AddCredits
from shared.events.envelope import CallReply, Refused
from shared.events.fees import CreditsRefunded, RefundReversed
from shared.events.payments import PaymentKept, RecordDispute, RecordPayment, RecordRefund
from tests.unit.billing.made import (
    ACCOUNT,
    LIST_COST,
    MONTH,
    OTHER_ACCOUNT,
    POLICY,
    USD,
    balance,
    events,
    finished,
)

PAYMENT = "stripe/pi_1"
PAID = RecordPayment(payment_id=PAYMENT, account_id=ACCOUNT, amount_nano_usd=10 * USD)


def refunded(nano_usd: int) -> RecordRefund:
    return RecordRefund(payment_id=PAYMENT, refunded_nano_usd=nano_usd)


def withdrawn(dispute: str = "dp_1", nano_usd: int = 10 * USD) -> RecordDispute:
    return RecordDispute(
        payment_id=PAYMENT, dispute_id=dispute, amount_nano_usd=nano_usd, is_reinstated=False
    )


def reinstated(dispute: str = "dp_1", nano_usd: int = 10 * USD) -> RecordDispute:
    return RecordDispute(
        payment_id=PAYMENT, dispute_id=dispute, amount_nano_usd=nano_usd, is_reinstated=True
    )


Command = RecordPayment | RecordRefund | RecordDispute


def tell(page: Page, command: Command) -> CallReply:
    match command:
        case RecordPayment():
            return record_payment(page, command, MONTH)
        case RecordRefund():
            return record_refund(page, command, MONTH)
        case RecordDispute():
            return record_dispute(page, command, MONTH)


def outcome(answer: CallReply) -> str:
    assert isinstance(answer, PaymentKept), answer
    return answer.outcome


def available(page: Page) -> int:
    return page.account(ACCOUNT).available_nano_usd


def test_a_payment_is_credited_once() -> None:
    page = Page()
    assert outcome(tell(page, PAID)) == "booked"
    assert outcome(tell(page, PAID)) == "repeated"
    assert available(page) == 10 * USD
    assert balance(page, LedgerAccount.CASH_IN) == -10 * USD


def test_a_payment_of_another_amount_or_account_is_a_conflict() -> None:
    page = Page()
    tell(page, PAID)
    for changed in (
        RecordPayment(payment_id=PAYMENT, account_id=ACCOUNT, amount_nano_usd=USD),
        RecordPayment(payment_id=PAYMENT, account_id=OTHER_ACCOUNT, amount_nano_usd=10 * USD),
    ):
        answer = tell(page, changed)
        assert isinstance(answer, Refused)
        assert answer.code == "conflict"
    assert available(page) == 10 * USD


def test_a_payment_that_an_operator_credited_under_its_id_is_not_credited_again() -> None:
    page = Page()
    by_hand = AddCredits(account_id=ACCOUNT, amount_nano_usd=10 * USD, key=PAYMENT)
    add_credits(page, by_hand, MONTH)
    assert isinstance(tell(page, PAID), Refused)
    assert available(page) == 10 * USD


def test_of_refunds_told_as_sums_the_difference_is_taken() -> None:
    page = Page()
    for command, left in (
        (PAID, 10 * USD),
        (refunded(3 * USD), 7 * USD),
        (refunded(3 * USD), 7 * USD),
        (refunded(5 * USD), 5 * USD),
        (refunded(4 * USD), 5 * USD),  # an older report, late
        (refunded(10 * USD), 0),
    ):
        tell(page, command)
        assert available(page) == left
    assert balance(page, LedgerAccount.CASH_IN) == 0


def test_a_refund_before_its_payment_waits_for_it() -> None:
    page = Page()
    assert outcome(tell(page, refunded(3 * USD))) == "waiting"
    assert outcome(tell(page, refunded(3 * USD))) == "waiting"
    assert outcome(tell(page, PAID)) == "booked"
    assert available(page) == 7 * USD
    assert events(page) == ["CreditsRefunded"]


def test_a_dispute_takes_and_winning_it_gives_back() -> None:
    page = Page()
    tell(page, PAID)
    tell(page, withdrawn())
    assert available(page) == 0
    assert outcome(tell(page, withdrawn())) == "repeated"
    tell(page, reinstated())
    assert available(page) == 10 * USD
    refund, reversal = (each.event for each in page.entries.fee_events[-2:])
    assert isinstance(refund, CreditsRefunded)
    assert isinstance(reversal, RefundReversed)
    assert (refund.dispute_id, reversal.dispute_id) == ("dp_1", "dp_1")


def test_a_dispute_that_is_won_before_we_hear_of_it_changes_nothing() -> None:
    page = Page()
    tell(page, PAID)
    tell(page, reinstated())
    tell(page, withdrawn())
    assert available(page) == 10 * USD
    assert events(page) == []


def test_a_won_dispute_first_covers_what_was_not_collected() -> None:
    page = Page()
    tell(page, PAID)
    settle_finished(page, finished(is_byok=False), POLICY)
    tell(page, withdrawn())
    assert balance(page, LedgerAccount.UNCOLLECTED) == -LIST_COST
    tell(page, reinstated())
    assert balance(page, LedgerAccount.UNCOLLECTED) == 0
    assert available(page) == 10 * USD - LIST_COST


def test_refund_and_dispute_of_the_same_money_take_it_once() -> None:
    page = Page()
    for command in (PAID, withdrawn(), refunded(10 * USD)):
        tell(page, command)
    assert available(page) == 0
    assert balance(page, LedgerAccount.CASH_IN) == 0
    tell(page, reinstated())
    assert available(page) == 0


_commands = st.lists(
    st.one_of(
        st.just(PAID),
        st.integers(1, 12).map(lambda dollars: refunded(dollars * USD)),
        st.sampled_from(["dp_1", "dp_2"]).map(lambda each: withdrawn(each, 4 * USD)),
        st.sampled_from(["dp_1", "dp_2"]).map(lambda each: reinstated(each, 4 * USD)),
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(_commands, st.randoms())
def test_the_order_of_reports_and_their_repetition_change_no_balance(
    commands: list[Command],
    random: "st.random.Random",  # type: ignore[name-defined] # Hypothesis hands one in
) -> None:
    shuffled = [PAID, *commands, *commands]
    random.shuffle(shuffled)
    balances = []
    for order in ([PAID, *commands], shuffled):
        page = Page()
        for command in order:
            tell(page, command)
        assert balance(page, LedgerAccount.UNCOLLECTED) == 0
        balances.append((available(page), balance(page, LedgerAccount.CASH_IN)))
    assert balances[0] == balances[1]
