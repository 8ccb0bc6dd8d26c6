"""Answers commands: many in one transaction, in the order in which they came."""

from collections.abc import Sequence
from datetime import date

from services.billing.domain.abandon import release
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.generation import day_of_generation, month_of_generation
from services.billing.domain.key_limit import told_limit
from services.billing.domain.page import Entries, Page
from services.billing.domain.policy import FeePolicy
from services.billing.domain.rate_limit import (
    LimitsByProvider,
    SharedUser,
)
from services.billing.domain.spending import Days, keys_asked_for, tell_spending
from services.billing.ports.ledger import Ledger, Observer, Scope, Transaction
from services.billing.use_cases.change_credits import CreditCommand, add_scope, change_credits
from shared.clock import Clock
from shared.errors import PoisonRecord
from shared.events.billing import (
    AuthorizeSpend,
    HoldsReleased,
    QuerySpending,
    QuerySpendingByKey,
    ReleaseHolds,
    SpendRefused,
)
from shared.events.envelope import CallReply, Event, Refused
from shared.ids import AccountId, ApiKeyHash, month_of
from shared.kafka.calls import ReceivedCall
from shared.telemetry.logging import Journal, get_logger, unit_of_work


class ServeCommands:
    """Takes batches of `billing.commands`."""

    def __init__(
        self,
        ledger: Ledger,
        installation: FeePolicy,
        clock: Clock,
        observer: Observer,
        *,
        shared_limits: LimitsByProvider,
    ) -> None:
        """`installation` and `shared_limits` are for accounts without a policy of their own."""
        self._ledger = ledger
        self._installation = installation
        self._shared_limits = shared_limits
        self._clock = clock
        self._observer = observer
        self._journal = Journal("commands")
        self._logger = get_logger("commands")

    async def __call__(self, calls: Sequence[ReceivedCall]) -> Sequence[CallReply]:
        """The answer to each call. Raises Unavailable; every command may then come again."""
        with unit_of_work(self._journal, "commands served", self._clock, calls=len(calls)) as line:
            began = self._clock.monotonic()
            answers = await self._answer_all([call.command for call in calls])
            line.add(refused=sum(isinstance(answer, SpendRefused | Refused) for answer in answers))
            self._observer.served(answers, self._clock.monotonic() - began)
        return answers

    async def _answer_all(self, commands: Sequence[Event]) -> list[CallReply]:
        async def work(transaction: Transaction) -> tuple[list[CallReply], Entries]:
            return await self._answer(transaction, commands)

        try:
            answers, entries = await self._ledger.transact(work)
        except PoisonRecord as error:
            if len(commands) == 1:
                return [Refused(code="invalid", message=error.reason)]
        else:
            self._tell_of_loss(entries)
            return answers
        # One of them holds what the database cannot: alone each shows whether it is the one.
        return [(await self._answer_all([command]))[0] for command in commands]

    def _tell_of_loss(self, entries: Entries) -> None:
        uncollected = sum(max(each.uncollected_nano_usd, 0) for each in entries.movements)
        if uncollected:
            self._observer.not_collected(uncollected)
            self._logger.error("not all was collected", uncollected_nano_usd=uncollected)

    async def _answer(
        self, transaction: Transaction, commands: Sequence[Event]
    ) -> tuple[list[CallReply], Entries]:
        scope, questions = _scope(commands)
        today = self._clock.now().date()
        days: Days = await transaction.read_days(questions, today) if questions else {}
        page = await transaction.read_page(scope)
        answers = [self._carry_out(page, command, days, today) for command in commands]
        if page.entries != Entries():
            await transaction.store(page)
        return answers, page.entries

    def _carry_out(self, page: Page, command: Event, days: Days, today: date) -> CallReply:
        if isinstance(command, CreditCommand):
            return change_credits(page, command, month_of(self._clock.now()))
        match command:
            case AuthorizeSpend() | ReleaseHolds() if not _is_generation(command):
                return Refused(code="invalid", message="is no generation id", field="generation_id")
            case AuthorizeSpend():
                return authorize_spend(page, command, self._installation, self._shared_limits)
            case ReleaseHolds():
                release(page, command.generation_id, command.account_id, command.reason)
                return HoldsReleased(generation_id=command.generation_id)
            case QuerySpending() | QuerySpendingByKey():
                return tell_spending(command, days, today)
            case _:
                return Refused(code="invalid", message="billing does not know this command")


def _scope(
    commands: Sequence[Event],
) -> tuple[Scope, list[tuple[AccountId, ApiKeyHash]]]:
    scope = Scope()
    questions: list[tuple[AccountId, ApiKeyHash]] = []
    for command in commands:
        if isinstance(command, CreditCommand):
            add_scope(scope, command)
            continue
        match command:
            case AuthorizeSpend() | ReleaseHolds() if _is_generation(command):
                scope.account_ids.add(command.account_id)
                scope.generation_ids.add(command.generation_id)
                scope.months.add(month_of_generation(command.generation_id))
            case QuerySpending() | QuerySpendingByKey():
                questions += keys_asked_for(command)
            case _:
                continue
        if isinstance(command, AuthorizeSpend):
            scope.hold_ids.add(command.hold_id)
            day = day_of_generation(command.generation_id)
            scope.key_days.add((command.account_id, command.api_key_hash, day))
            if command.api_key_limit is not None:
                scope.told_limits.append(told_limit(command.api_key_hash, command.api_key_limit))
            if not command.is_byok:
                scope.shared_users.add(SharedUser(command.account_id, command.provider))
    return scope, questions


def _is_generation(command: AuthorizeSpend | ReleaseHolds) -> bool:
    try:
        month_of_generation(command.generation_id)
    except (ValueError, OverflowError, OSError):
        return False
    return True
