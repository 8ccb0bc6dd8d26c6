from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.health import ANY_ENDPOINT, ENTRIES_MAX, HealthTable
from shared.events.credentials import Deployment
from shared.events.routing import HealthChanged
from shared.ids import CredentialId
from tests.unit.dispatcher.made import MODEL, NOW, OTHER_ACCOUNT, attempt, credential


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def failed(
    table: HealthTable,
    kind: FailureClass,
    *,
    began: float = 0,
    now: float = 0,
    retry_after: float | None = None,
) -> HealthChanged | None:
    failure = ProviderFailure(failure=kind, status=429, retry_after_seconds=retry_after)
    return table.failed(attempt(), failure, began_at=at(began), now=at(now))


def blocked_seconds(table: HealthTable, now: float = 0) -> float | None:
    found = table.blocking(attempt(), at(now))
    return None if found is None or found.until is None else (found.until - at(now)).total_seconds()


@pytest.mark.parametrize(
    ("kind", "retry_after", "seconds"),
    [
        (FailureClass.KEY_REFUSED, None, 300),
        (FailureClass.PERMISSION_DENIED, None, 300),
        (FailureClass.MISCONFIGURED, None, 300),
        (FailureClass.RATE_LIMITED, None, 1),
        (FailureClass.RATE_LIMITED, 30, 30),
        (FailureClass.RATE_LIMITED, 999_999, 3600),
        (FailureClass.QUOTA_EXHAUSTED, 5, 600),
        (FailureClass.PROVIDER_ERROR, None, None),
        (FailureClass.PROVIDER_ERROR, 9, 9),
        (FailureClass.TIMED_OUT, None, None),
        (FailureClass.UNREACHABLE, None, None),
        (FailureClass.STREAM_CUT, None, None),
        (FailureClass.INVALID_REQUEST, None, None),
        (FailureClass.CONTEXT_TOO_LONG, None, None),
        (FailureClass.CONTENT_REFUSED, None, None),
        (FailureClass.INSUFFICIENT_CREDITS, None, None),
    ],
)
def test_how_long_a_first_failure_keeps_a_key_from_being_tried(
    kind: FailureClass, retry_after: float | None, seconds: float | None
) -> None:
    table = HealthTable()
    change = failed(table, kind, retry_after=retry_after)
    assert blocked_seconds(table) == seconds
    assert (change is None) is (seconds is None)


def test_rate_limits_in_a_row_double_to_a_minute() -> None:
    table = HealthTable()
    waits = []
    now = 0.0
    for _ in range(8):
        failed(table, FailureClass.RATE_LIMITED, began=now, now=now)
        waits.append(blocked_seconds(table, now))
        now += 100
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_burst_of_rate_limits_is_one_step() -> None:
    table = HealthTable()
    assert failed(table, FailureClass.RATE_LIMITED, now=1.0) is not None
    for _ in range(30):
        assert failed(table, FailureClass.RATE_LIMITED, began=0.5, now=1.0) is None
    assert blocked_seconds(table, 1.0) == 1


def test_a_longer_retry_after_in_the_same_burst_is_taken() -> None:
    table = HealthTable()
    failed(table, FailureClass.RATE_LIMITED, now=1.0)
    failed(table, FailureClass.RATE_LIMITED, began=0.5, now=1.0, retry_after=20)
    assert blocked_seconds(table, 1.0) == 20


def test_the_breaker_opens_at_the_third_error_in_a_row_and_doubles_to_half_a_minute() -> None:
    table = HealthTable()
    waits = []
    for step in range(9):
        failed(table, FailureClass.PROVIDER_ERROR, began=step * 100, now=step * 100)
        waits.append(blocked_seconds(table, step * 100))
    assert waits == [None, None, 1, 2, 4, 8, 16, 30, 30]


def test_a_success_between_errors_starts_the_count_anew() -> None:
    table = HealthTable()
    for step in range(6):
        failed(table, FailureClass.PROVIDER_ERROR, began=step, now=step)
        if step % 2:
            assert table.succeeded(attempt(), began_at=at(step), now=at(step)) == ()
    assert blocked_seconds(table, 5) is None


def test_a_success_that_began_before_the_rate_limit_does_not_lift_it() -> None:
    table = HealthTable()
    failed(table, FailureClass.RATE_LIMITED, now=5, began=5)
    assert table.succeeded(attempt(), began_at=at(4), now=at(5.5)) == ()
    assert blocked_seconds(table, 5.5) == 0.5
    recovered = table.succeeded(attempt(), began_at=at(7), now=at(8))
    assert [each.state for each in recovered] == ["recovered"]


def test_a_failing_key_gets_one_probe_at_a_time() -> None:
    table = HealthTable()
    failed(table, FailureClass.KEY_REFUSED)
    assert table.blocking(attempt(), at(301)) is None
    table.begin(attempt(), at(301))
    assert blocked_seconds(table, 301) == 300


def test_a_refused_key_fails_everywhere_but_an_azure_deployment_only_by_itself() -> None:
    table = HealthTable()
    change = failed(table, FailureClass.KEY_REFUSED)
    assert change is not None
    assert change.endpoint == ANY_ENDPOINT
    deployed = attempt(
        credential(
            "azure", provider="azure", deployments=[Deployment(model_slug=MODEL, model_id="m")]
        )
    )
    refused = ProviderFailure(failure=FailureClass.KEY_REFUSED, status=401)
    change = table.failed(deployed, refused, began_at=NOW, now=NOW)
    assert change is not None
    assert change.endpoint == deployed.endpoint.id


def test_one_accounts_failing_key_does_not_touch_anothers() -> None:
    table = HealthTable()
    failed(table, FailureClass.KEY_REFUSED)
    assert table.blocking(attempt(credential(account_id=OTHER_ACCOUNT)), NOW) is None
    assert table.blocking(attempt(credential("another")), NOW) is None


def test_what_another_dispatcher_saw_counts_here_and_old_news_does_not() -> None:
    here, there = HealthTable(), HealthTable()
    change = failed(there, FailureClass.RATE_LIMITED, began=10, now=10, retry_after=20)
    assert change is not None
    here.heard(change)
    assert blocked_seconds(here, 10) == 20
    recovered = there.succeeded(attempt(), began_at=at(31), now=at(32))
    failed(here, FailureClass.RATE_LIMITED, began=33, now=33, retry_after=9)
    here.heard(recovered[0])
    assert blocked_seconds(here, 33) == 9


def test_a_changed_credential_may_be_tried_at_once() -> None:
    table = HealthTable()
    failed(table, FailureClass.KEY_REFUSED)
    table.forget(CredentialId("credential-1"))
    assert table.blocking(attempt(), NOW) is None


def test_the_table_is_bounded() -> None:
    table = HealthTable()
    for number in range(ENTRIES_MAX + 10):
        table.heard(
            HealthChanged(
                account_id=OTHER_ACCOUNT,
                credential_id=CredentialId(str(number)),
                endpoint="openai/gpt-4o",
                state="failing",
                reason="a word of the future",
                until=at(60),
                observed_at=NOW,
            )
        )
    assert len(table) == ENTRIES_MAX


def test_a_good_check_lets_failing_endpoints_be_tried_again_and_cooling_ones_rest() -> None:
    table = HealthTable()
    failed(table, FailureClass.KEY_REFUSED, began=0, now=0)
    failed(table, FailureClass.RATE_LIMITED, began=1, now=1, retry_after=60)
    told = table.checked_well(attempt(), began_at=at(2), now=at(3))
    assert [(each.endpoint, each.state) for each in told] == [(ANY_ENDPOINT, "recovered")]
    assert blocked_seconds(table, 3) == 58


def test_a_deployment_that_answers_says_nothing_of_another() -> None:
    table = HealthTable()
    deployments = [
        Deployment(model_slug=MODEL, model_id="gpt-4o"),
        Deployment(model_slug=MODEL, model_id="other"),
    ]
    own = credential(provider="azure", deployments=deployments)
    gone = ProviderFailure(failure=FailureClass.MISCONFIGURED, status=404)
    table.failed(attempt(own), gone, began_at=at(0), now=at(0))
    other = attempt(own)
    other = replace(other, endpoint=replace(other.endpoint, id="azure/other"))
    assert table.checked_well(other, began_at=at(1), now=at(1)) == ()
    assert table.blocking(attempt(own), at(1)) is not None
    assert table.checked_well(attempt(own), began_at=at(1), now=at(1)) != ()
    assert table.blocking(attempt(own), at(1)) is None


def test_a_credential_rests_until_its_last_endpoint_may_be_tried_again() -> None:
    table = HealthTable()
    own = credential()
    other = replace(attempt(own), endpoint=replace(attempt(own).endpoint, id="openai/other"))
    for each, seconds in ((attempt(own), 10.0), (other, 30.0)):
        limited = ProviderFailure(
            failure=FailureClass.RATE_LIMITED, status=429, retry_after_seconds=seconds
        )
        table.failed(each, limited, began_at=at(0), now=at(0))
    ids = (own.account_id, own.credential_id)
    assert table.resting_until(*ids, at(0)) == at(30)
    assert table.resting_until(*ids, at(30)) is None
    assert table.resting_until(OTHER_ACCOUNT, own.credential_id, at(0)) is None
    table.succeeded(other, began_at=at(31), now=at(32))
    assert table.resting_until(*ids, at(5)) == at(10)
    table.forget(own.credential_id)
    assert table.resting_until(*ids, at(0)) is None
    assert len(table) == 0
