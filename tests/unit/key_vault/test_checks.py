"""Checks and health as key_vault keeps and tells them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.key_vault.domain.check import PENDING_MAX, Check, CheckResult, describe_check
from services.key_vault.domain.health import (
    Observed,
    Usage,
    describe_health,
    observed_in,
    usage_in,
)
from services.key_vault.use_cases.add_credential import add_credential
from services.key_vault.use_cases.change_credential import change_credential
from services.key_vault.use_cases.check_credential import check_credential
from services.key_vault.use_cases.tell_health import tell_health
from shared.events.credential_health import (
    CheckCredential,
    CredentialError,
    CredentialsObserved,
    CredentialUse,
)
from shared.events.credentials import CredentialKept
from shared.events.envelope import Refused
from shared.events.fees import ChargeReversed, FeeDeducted, FeeWaived
from shared.ids import AccountId, CredentialId, GenerationId
from tests.unit.key_vault.fakes import SteppingClock, World
from tests.unit.key_vault.test_commands import ACCOUNT, sealed, to_add, to_change

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
OWN = CredentialId("own")


@pytest.fixture
def world() -> World:
    return World()


def to_check(credential: str = "own", account: AccountId = ACCOUNT) -> CheckCredential:
    return CheckCredential(account_id=account, credential_id=CredentialId(credential))


def revisions(world: World) -> list[int]:
    return [each.secret_revision for each in world.credentials.check_requests]


async def test_a_new_key_is_checked_and_a_new_policy_is_not(world: World) -> None:
    await add_credential(world.ports, to_add("own"))
    assert revisions(world) == [1]
    await change_credential(world.ports, to_change("own", "name", name="new name"))
    assert revisions(world) == [1]
    new = sealed("sk-another", "own", "key")
    await change_credential(world.ports, to_change("own", "key", sealed_key=new))
    assert revisions(world) == [1, 2]


async def test_a_command_that_comes_twice_asks_once(world: World) -> None:
    for _ in range(2):
        await add_credential(world.ports, to_add("own"))
    assert revisions(world) == [1]


async def test_no_second_check_is_asked_for_while_one_is_under_way(world: World) -> None:
    clock = SteppingClock()
    await add_credential(world.ports, to_add("own"))
    await check_credential(world.ports, to_check())
    assert revisions(world) == [1]
    check = world.credentials.checks[ACCOUNT, OWN]
    lost_since = clock.now() - PENDING_MAX
    world.credentials.checks[ACCOUNT, OWN] = Check(
        secret_revision=check.secret_revision, requested_at=lost_since, result=None
    )
    answer = await check_credential(world.ports, to_check())
    assert isinstance(answer, CredentialKept)
    assert revisions(world) == [1, 1]


@pytest.mark.parametrize("command", [to_check("other"), to_check(account=AccountId("account-2"))])
async def test_only_an_own_credential_is_checked(world: World, command: CheckCredential) -> None:
    await add_credential(world.ports, to_add("own"))
    answer = await check_credential(world.ports, command)
    assert isinstance(answer, Refused)
    assert answer.code == "not_found"
    assert revisions(world) == [1]


async def test_answers_tell_of_check_and_health(world: World) -> None:
    kept = await add_credential(world.ports, to_add("own"))
    world.health.usage[ACCOUNT, OWN, "2026-01"] = Usage(requests=3, fees_nano_usd=7)
    told = await tell_health(world.ports, ACCOUNT, kept)
    assert isinstance(told, CredentialKept)
    assert told.credential.check is not None
    assert told.credential.check.status == "pending"
    health = told.credential.health
    assert health is not None
    assert (health.month, health.requests, health.fees_nano_usd) == ("2026-01", 3, 7)
    assert (health.last_used_at, health.last_error, health.cooling_down_until) == (None,) * 3


def test_a_check_that_never_ends_is_not_pending_for_ever() -> None:
    check = Check(secret_revision=1, requested_at=NOW, result=None)
    pending = describe_check(check, NOW + PENDING_MAX - timedelta(seconds=1))
    lost = describe_check(check, NOW + PENDING_MAX)
    assert pending is not None
    assert lost is not None
    assert (pending.status, lost.status) == ("pending", "unknown")
    assert "Check again" in (lost.message or "")
    assert describe_check(None, NOW) is None


def test_a_result_is_told_however_old_it_is() -> None:
    result = CheckResult(
        status="refused", message="m", provider_status=401, checked_at=NOW, deployments=None
    )
    check = Check(secret_revision=1, requested_at=NOW, result=result)
    told = describe_check(check, NOW + timedelta(days=90))
    assert told is not None
    assert (told.status, told.message, told.checked_at) == ("refused", "m", NOW)


def test_a_cool_down_that_is_over_is_not_told() -> None:
    observed = Observed(cooling_down_until=NOW, observed_at=NOW)
    before = describe_health(observed, None, "2026-11", NOW - timedelta(seconds=1))
    assert before.cooling_down_until == NOW
    assert describe_health(observed, None, "2026-11", NOW).cooling_down_until is None


def use(seconds: int, **fields: object) -> CredentialsObserved:
    seen = CredentialUse(credential_id=OWN, attempts=1, failures=0, **fields)  # type: ignore[arg-type] # of the test
    at = NOW + timedelta(seconds=seconds)
    return CredentialsObserved(account_id=ACCOUNT, observed_at=at, credentials=[seen])


def test_the_newest_of_each_kind_wins_whatever_the_order() -> None:
    def error(seconds: int) -> CredentialError:
        at = NOW + timedelta(seconds=seconds)
        return CredentialError(failure="timed_out", provider_status=None, endpoint="e", at=at)

    events = [
        use(1, last_used_at=NOW, last_error=error(1), cooling_down_until=NOW),
        use(3, last_used_at=NOW + timedelta(seconds=3), last_success_at=NOW),
        use(2, last_error=error(2), cooling_down_until=NOW),
    ]
    expected = Observed(
        last_used_at=NOW + timedelta(seconds=3),
        last_success_at=NOW,
        last_error=error(2),
        cooling_down_until=None,
        observed_at=NOW + timedelta(seconds=3),
    )
    assert observed_in(events) == observed_in(events[::-1]) == {(ACCOUNT, OWN): expected}


def test_booked_requests_add_up_and_a_reversal_takes_off() -> None:
    generation = GenerationId("gen-1")
    common = {"generation_id": generation, "account_id": ACCOUNT, "month": "2026-11"}
    fee = {
        **common,
        "credential_id": OWN,
        "model": "m",
        "list_cost_nano_usd": 100,
        "fee_percent": Decimal(5),
        "allotment_used": 1,
        "credits_nano_usd": 0,
    }
    events = [
        FeeWaived(**fee, fee_nano_usd=0),  # type: ignore[arg-type] # of the test
        FeeDeducted(**fee, fee_nano_usd=5),  # type: ignore[arg-type] # of the test
        FeeDeducted(**fee, fee_nano_usd=9),  # type: ignore[arg-type] # of the test
        ChargeReversed(
            **common,  # type: ignore[arg-type] # of the test
            credential_id=OWN,
            amount_nano_usd=7,
            uncollected_nano_usd=2,
            waived=False,
            credits_nano_usd=0,
        ),
        ChargeReversed(**common, amount_nano_usd=50, waived=False, credits_nano_usd=0),  # type: ignore[arg-type] # of the test
    ]
    assert usage_in(events) == {(ACCOUNT, OWN, "2026-11"): Usage(requests=2, fees_nano_usd=5)}
