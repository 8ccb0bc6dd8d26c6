"""The page of the books that one transaction works on.

It begins with what was read under the accounts' locks; the rules in this folder write on it; what
is new on it is then stored in a few statements. No rule reaches past its page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import msgspec

from services.billing.domain.account import Account, Allotment
from services.billing.domain.generation import Abandonment, Finished, Settlement
from services.billing.domain.hold import Hold, HoldEnding, Refusal
from services.billing.domain.key_limit import KeyLimit, KeyLimits
from services.billing.domain.ledger import LedgerAccount, Transfer, TransferKind
from services.billing.domain.months import Months
from services.billing.domain.movement import Movement
from services.billing.domain.payment import Payment, PaymentReport
from services.billing.domain.rate_limit import LimitsByProvider, SharedUse
from shared.events.envelope import Event
from shared.ids import AccountId, ApiKeyHash, GenerationId, HoldId


@dataclass(slots=True, kw_only=True)
class Spent:
    """What is to be added to the spending of one API key on one day."""

    credits_nano_usd: int = 0
    byok_list_cost_nano_usd: int = 0
    requests: int = 0


class FeeEvent(msgspec.Struct, frozen=True):
    """An event for `billing.fees`; its id is made from what it is about."""

    event_id: str
    account_id: AccountId
    event: Event


SpentKey = tuple[AccountId, ApiKeyHash, date]


@dataclass(slots=True, kw_only=True)
class Entries:
    """What a transaction adds to the books, in the order in which it was decided."""

    transfers: list[Transfer] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    hold_endings: list[tuple[Hold, HoldEnding]] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    abandonments: list[Abandonment] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    payment_reports: list[PaymentReport] = field(default_factory=list)
    spent: dict[SpentKey, Spent] = field(default_factory=dict)
    fee_events: list[FeeEvent] = field(default_factory=list)
    changed_accounts: set[AccountId] = field(default_factory=set)
    changed_allotments: set[tuple[AccountId, str]] = field(default_factory=set)
    key_limits: dict[ApiKeyHash, KeyLimit] = field(default_factory=dict)
    shared_limits: dict[AccountId, LimitsByProvider | None] = field(default_factory=dict)
    deleted_keys: dict[ApiKeyHash, AccountId] = field(default_factory=dict)
    duplicates: int = 0


@dataclass(slots=True, kw_only=True)
class Page:
    """Accounts, allotments, holds and ended generations that the rules may look at and change.

    `cash` is what came in as cash and has not gone back yet, of accounts that ask for a refund.
    """

    accounts: dict[AccountId, Account] = field(default_factory=dict)
    allotments: dict[tuple[AccountId, str], Allotment] = field(default_factory=dict)
    holds: dict[HoldId, Hold] = field(default_factory=dict)
    open_holds: dict[GenerationId, Hold] = field(default_factory=dict)
    settlements: dict[GenerationId, Settlement] = field(default_factory=dict)
    abandonments: dict[GenerationId, Abandonment] = field(default_factory=dict)
    refusals: dict[HoldId, Refusal] = field(default_factory=dict)
    movements: dict[tuple[AccountId, str], Movement] = field(default_factory=dict)
    cash: dict[AccountId, int] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    payment_reports: dict[str, list[PaymentReport]] = field(default_factory=dict)
    key_limits: KeyLimits = field(default_factory=KeyLimits)
    shared_use: SharedUse = field(default_factory=SharedUse)
    months: Months = field(default_factory=Months)
    entries: Entries = field(default_factory=Entries)

    def account(self, account_id: AccountId) -> Account:
        """The account as it stands now; an account never heard of has nothing."""
        return self.accounts.get(account_id) or Account(account_id=account_id)

    def allotment(self, account_id: AccountId, month: str) -> Allotment:
        """The account's allotment of a month as it stands now."""
        return self.allotments.get((account_id, month)) or Allotment()

    def open_hold(self, generation_id: GenerationId, account_id: AccountId) -> Hold | None:
        """The generation's open hold, if it is of that account."""
        hold = self.open_holds.get(generation_id)
        return hold if hold is not None and hold.account_id == account_id else None

    def book(
        self,
        kind: TransferKind,
        account_id: AccountId,
        amount_nano_usd: int,
        *,
        debit: LedgerAccount,
        credit: LedgerAccount,
        about: str,
        month: str,
        generation_id: GenerationId | None = None,
        hold_id: HoldId | None = None,
    ) -> None:
        """Move money, of which nothing is no movement; ValueError when there is not enough.

        What belongs to a closed `month` is written into an open one and names it.
        """
        if amount_nano_usd == 0:
            return
        if amount_nano_usd < 0:
            raise ValueError("a transfer moves more than nothing")
        transfer = Transfer(
            transfer_id=f"{about}/{kind}",
            month=self.months.posting(month),
            corrects_month=self.months.corrected(month),
            kind=kind,
            account_id=account_id,
            debit=debit,
            credit=credit,
            amount_nano_usd=amount_nano_usd,
            generation_id=generation_id,
            hold_id=hold_id,
        )
        self.change_account(self.account(account_id).after(transfer))
        self.entries.transfers.append(transfer)

    def write_down(self, movement: Movement) -> None:
        """Note a movement whose transfers are booked."""
        account_id = movement.account_id
        self.movements[account_id, movement.key] = movement
        self.entries.movements.append(movement)
        self.cash[account_id] = self.cash.get(account_id, 0) + movement.cash_nano_usd

    def report(self, report: PaymentReport) -> None:
        """Note what a payment provider said of a payment."""
        self.payment_reports.setdefault(report.payment_id, []).append(report)
        self.entries.payment_reports.append(report)

    def change_account(self, account: Account) -> None:
        """Replace an account; its version grows once a page."""
        if account.account_id not in self.entries.changed_accounts:
            self.entries.changed_accounts.add(account.account_id)
            account = msgspec.structs.replace(account, version=account.version + 1)
        self.accounts[account.account_id] = account

    def change_allotment(
        self,
        account_id: AccountId,
        month: str,
        *,
        used: int = 0,
        reserved: int = 0,
        list_cost_used_nano_usd: int = 0,
        list_cost_reserved_nano_usd: int = 0,
    ) -> None:
        """Add to an account's counters of a month."""
        self.allotments[account_id, month] = self.allotment(account_id, month).changed(
            used=used,
            reserved=reserved,
            list_cost_used_nano_usd=list_cost_used_nano_usd,
            list_cost_reserved_nano_usd=list_cost_reserved_nano_usd,
        )
        self.entries.changed_allotments.add((account_id, month))
        self.change_account(self.account(account_id))

    def open(self, hold: Hold) -> None:
        """Put a hold's money, or its share of the allotment, aside."""
        self.holds[hold.hold_id] = hold
        self.open_holds[hold.generation_id] = hold
        self.entries.holds.append(hold)
        self.key_limits.opened(hold)
        self.shared_use.opened(hold)
        if hold.waived:
            self.change_allotment(
                hold.account_id,
                hold.month,
                reserved=1,
                list_cost_reserved_nano_usd=hold.worst_case_nano_usd,
            )
        self.book(
            TransferKind.HELD,
            hold.account_id,
            hold.amount_nano_usd,
            debit=LedgerAccount.CUSTOMER_CREDITS,
            credit=LedgerAccount.CUSTOMER_HOLDS,
            about=hold.hold_id,
            month=hold.month,
            generation_id=hold.generation_id,
            hold_id=hold.hold_id,
        )

    def close(
        self, hold: Hold, ending: HoldEnding, *, paid_nano_usd: int = 0, used_tokens: int = 0
    ) -> None:
        """End an open hold; what was not paid from it returns to the account's credits."""
        del self.open_holds[hold.generation_id]
        self.entries.hold_endings.append((hold, ending))
        self.key_limits.closed(hold)
        self.shared_use.closed(hold, used_tokens)
        if hold.waived:
            self.change_allotment(
                hold.account_id,
                hold.month,
                reserved=-1,
                list_cost_reserved_nano_usd=-hold.worst_case_nano_usd,
            )
        self.book(
            TransferKind.RETURNED,
            hold.account_id,
            hold.amount_nano_usd - paid_nano_usd,
            debit=LedgerAccount.CUSTOMER_HOLDS,
            credit=LedgerAccount.CUSTOMER_CREDITS,
            about=hold.hold_id,
            month=hold.month,
            generation_id=hold.generation_id,
            hold_id=hold.hold_id,
        )

    def spend(
        self,
        key: SpentKey,
        *,
        credits_nano_usd: int = 0,
        byok_list_cost_nano_usd: int = 0,
        requests: int = 0,
    ) -> None:
        """Add to the spending of an API key on a day; amounts below zero take it back."""
        spent = self.entries.spent.setdefault(key, Spent())
        spent.credits_nano_usd += credits_nano_usd
        spent.byok_list_cost_nano_usd += byok_list_cost_nano_usd
        spent.requests += requests

    def emit(self, event_id: str, account_id: AccountId, event: Event) -> None:
        """Tell the world what was booked, once it is stored."""
        self.entries.fee_events.append(FeeEvent(event_id, account_id, event))


def expire(page: Page, holds: Sequence[Hold]) -> None:
    """End holds whose time is over and that nobody ended meanwhile."""
    for hold in holds:
        if page.open_hold(hold.generation_id, hold.account_id) == hold:
            page.close(hold, HoldEnding.EXPIRED)
