"""May an attempt begin? Reserves a share of the allotment, or the worst-case amount."""

from decimal import Decimal

import msgspec

from services.billing.domain.account import Allotment
from services.billing.domain.generation import month_of_generation
from services.billing.domain.hold import Hold, HoldEnding, Refusal
from services.billing.domain.input_hash import input_hash
from services.billing.domain.means import Means, means_of, too_dear
from services.billing.domain.page import Page
from services.billing.domain.policy import FeePolicy
from services.billing.domain.rate_limit import NO_LIMITS, LimitsByProvider
from shared.events.billing import AuthorizeSpend, SpendAuthorized, SpendRefused
from shared.events.envelope import CallReply, Refused
from shared.money import PicoUsd, fee_of

_PICO_PER_NANO = 1_000


def authorize_spend(
    page: Page,
    command: AuthorizeSpend,
    installation: FeePolicy,
    shared_limits: LimitsByProvider | None = None,
) -> CallReply:
    """Answer a command, and open the hold that the answer promises.

    The same command again gets the same answer, refusals too; its hold id with any other input is a
    conflict. A refusal changes nothing else. A hold of the same generation is replaced, its money
    counting as available for the new one. What cannot be paid for is refused before what is too
    fast. `shared_limits` are the installation's; without them nothing is too fast.
    """
    answer = _given_before(page, command) or _impossible(page, command)
    if answer is not None:
        return answer
    second = None if shared_limits is None else page.shared_use.now
    hold = _proposed(page, command, installation, second)
    previous = page.open_holds.get(command.generation_id)
    means = means_of(page, command, previous)
    if not means.suffice(hold):
        affordable = _affordable(page, command, installation, means)
        return _refuse(page, command, too_dear(hold, means, affordable))
    reached = page.shared_use.refusal(hold, previous, shared_limits or NO_LIMITS)
    if reached is not None:
        refused = SpendRefused(
            code="rate_limited",
            message=f"{reached.limit} {reached.counted} a minute may be used of shared capacity "
            f"at {hold.provider}",
            needed_nano_usd=hold.amount_nano_usd,
            available_nano_usd=means.credits_nano_usd,
            rate_limit=reached,
        )
        return _refuse(page, command, refused)
    if previous is not None:
        page.close(previous, HoldEnding.REPLACED)
    page.open(hold)
    return _authorized(hold)


def _given_before(page: Page, command: AuthorizeSpend) -> CallReply | None:
    known = page.holds.get(command.hold_id) or page.refusals.get(command.hold_id)
    if known is None:
        return None
    if known.input_hash != input_hash(command):
        return Refused(
            code="conflict", message="this hold id came with another command", field="hold_id"
        )
    return known.answer if isinstance(known, Refusal) else _authorized(known)


def _impossible(page: Page, command: AuthorizeSpend) -> CallReply | None:
    if command.worst_case_nano_usd < 0:
        return Refused(
            code="invalid", message="must not be below zero", field="worst_case_nano_usd"
        )
    if command.worst_case_tokens < 0:
        return Refused(code="invalid", message="must not be below zero", field="worst_case_tokens")
    if command.generation_id in page.settlements or command.generation_id in page.abandonments:
        return _refuse(
            page,
            command,
            SpendRefused(
                code="already_ended",
                message="the generation has ended",
                needed_nano_usd=0,
                available_nano_usd=page.account(command.account_id).available_nano_usd,
            ),
        )
    previous = page.open_holds.get(command.generation_id)
    if previous is not None and previous.account_id != command.account_id:
        return Refused(code="conflict", message="the generation belongs to another account")
    return None


def _affordable(page: Page, command: AuthorizeSpend, installation: FeePolicy, means: Means) -> int:
    """The largest worst case that there would be means for; the command's own is too large."""
    if not command.is_byok:
        left = means.credits_nano_usd if means.key is None else means.key.left_nano_usd
        return max(0, min(means.credits_nano_usd, left))
    fits, too_large = -1, command.worst_case_nano_usd
    while too_large - fits > 1:
        tried = (fits + too_large) // 2
        smaller = msgspec.structs.replace(command, worst_case_nano_usd=tried)
        if means.suffice(_proposed(page, smaller, installation, None)):
            fits = tried
        else:
            too_large = tried
    return max(0, fits)


def _proposed(
    page: Page, command: AuthorizeSpend, installation: FeePolicy, second: int | None
) -> Hold:
    month = month_of_generation(command.generation_id)
    waived = False
    percent: Decimal | None = None
    amount = command.worst_case_nano_usd
    if command.is_byok:
        policy = page.account(command.account_id).policy(installation)
        waived = _allotment_without_own(page, command, month).has_left(policy)
        percent = policy.fee_percent
        exact = PicoUsd(command.worst_case_nano_usd * _PICO_PER_NANO)
        amount = 0 if waived else fee_of(exact, percent)
    return Hold(
        hold_id=command.hold_id,
        month=month,
        generation_id=command.generation_id,
        run_id=command.run_id,
        account_id=command.account_id,
        api_key_hash=command.api_key_hash,
        is_byok=command.is_byok,
        provider=command.provider,
        waived=waived,
        fee_percent=percent,
        worst_case_nano_usd=command.worst_case_nano_usd,
        amount_nano_usd=amount,
        worst_case_tokens=command.worst_case_tokens,
        rate_second=None if command.is_byok else second,
        hold_until=command.hold_until,
        input_hash=input_hash(command),
    )


def _allotment_without_own(page: Page, command: AuthorizeSpend, month: str) -> Allotment:
    """What others have taken: a hold about to be replaced gives back its own share."""
    allotment = page.allotment(command.account_id, month)
    previous = page.open_hold(command.generation_id, command.account_id)
    if previous is None or not previous.waived:
        return allotment
    return allotment.changed(reserved=-1, list_cost_reserved_nano_usd=-previous.worst_case_nano_usd)


def _authorized(hold: Hold) -> SpendAuthorized:
    return SpendAuthorized(hold_id=hold.hold_id, waived=hold.waived, fee_percent=hold.fee_percent)


def _refuse(page: Page, command: AuthorizeSpend, refused: SpendRefused) -> SpendRefused:
    refusal = Refusal(
        hold_id=command.hold_id,
        account_id=command.account_id,
        input_hash=input_hash(command),
        answer=refused,
    )
    page.refusals[command.hold_id] = refusal
    page.entries.refusals.append(refusal)
    return refused
