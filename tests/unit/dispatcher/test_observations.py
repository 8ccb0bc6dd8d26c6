"""What is gathered of credentials in use."""

from datetime import datetime, timedelta

from services.dispatcher.domain import observations as domain
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.observations import Observations, observed
from shared.events.credential_health import CredentialError, CredentialsObserved, CredentialUse
from shared.ids import AccountId, CredentialId
from tests.unit.dispatcher.made import ACCOUNT, NOW, OTHER_ACCOUNT, attempt, credential

LIMITED = ProviderFailure(failure=FailureClass.RATE_LIMITED, status=429)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def told(
    gathered: Observations, until: dict[str, datetime] | None = None
) -> list[CredentialsObserved]:
    def resting_until(_account_id: AccountId, credential_id: CredentialId) -> datetime | None:
        return (until or {}).get(credential_id)

    return observed(gathered.take(), resting_until, at(60))


def test_many_generations_make_one_event_of_an_account() -> None:
    gathered = Observations()
    first, second = credential("first"), credential("second")
    foreign = credential("foreign", account_id=OTHER_ACCOUNT)
    for second_of in range(50):
        began, now = at(second_of), at(second_of + 0.5)
        for each in (first, second, foreign):
            gathered.ended(attempt(each), None, began_at=began, now=now)
    gathered.ended(attempt(first), LIMITED, began_at=at(50), now=at(51))

    mine, theirs = told(gathered, {"first": at(99)})

    assert (mine.account_id, theirs.account_id) == (ACCOUNT, OTHER_ACCOUNT)
    assert mine.credentials == [
        CredentialUse(
            credential_id=first.credential_id,
            attempts=51,
            failures=1,
            last_used_at=at(50),
            last_success_at=at(49.5),
            last_error=CredentialError(
                failure="rate_limited",
                provider_status=429,
                endpoint=attempt(first).endpoint.id,
                at=at(51),
            ),
            cooling_down_until=at(99),
        ),
        CredentialUse(
            credential_id=second.credential_id,
            attempts=50,
            failures=0,
            last_used_at=at(49),
            last_success_at=at(49.5),
        ),
    ]
    assert told(gathered) == []


def test_a_fault_of_the_request_is_no_fault_of_the_key() -> None:
    gathered = Observations()
    for kind in (
        FailureClass.INVALID_REQUEST,
        FailureClass.CONTEXT_TOO_LONG,
        FailureClass.CONTENT_REFUSED,
    ):
        failure = ProviderFailure(failure=kind, status=400)
        gathered.ended(attempt(credential()), failure, began_at=at(0), now=at(1))
    gathered.interrupted(attempt(credential()), began_at=at(2))
    ((use,),) = (each.credentials for each in told(gathered))
    assert (use.attempts, use.failures, use.last_error, use.last_success_at) == (4, 0, None, None)
    assert use.last_used_at == at(2)


def test_what_billing_refused_was_no_use() -> None:
    gathered = Observations()
    failure = ProviderFailure(failure=FailureClass.INSUFFICIENT_CREDITS)
    gathered.ended(attempt(credential()), failure, began_at=at(0), now=at(1))
    assert told(gathered) == []


def test_what_could_not_be_told_is_kept_under_what_came_since() -> None:
    gathered = Observations()
    gathered.ended(attempt(credential("a")), LIMITED, began_at=at(0), now=at(1))
    gathered.ended(attempt(credential("b")), None, began_at=at(0), now=at(1))
    taken = gathered.take()
    gathered.ended(attempt(credential("a")), None, began_at=at(5), now=at(6))
    gathered.put_back(taken)
    ((first, second),) = (each.credentials for each in told(gathered))
    assert (first.credential_id, first.attempts, first.failures) == ("a", 2, 1)
    assert (first.last_used_at, first.last_success_at) == (at(5), at(6))
    assert first.last_error is not None
    assert (second.credential_id, second.attempts) == ("b", 1)


def test_memory_is_bounded() -> None:
    gathered = Observations()
    for number in range(domain.CREDENTIALS_MAX + 5):
        each = attempt(credential(f"c{number}"))
        gathered.ended(each, None, began_at=at(0), now=at(1))
    assert len(gathered) == domain.CREDENTIALS_MAX
