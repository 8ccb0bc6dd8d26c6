"""Waiting for a check: until it is over, and never longer than promised."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal, not_found
from services.ingress.use_cases.await_check import AwaitCheck, Kept
from shared.errors import Unavailable
from shared.events.credential_health import CheckDescription, CheckStatus
from shared.events.credentials import CredentialDescription, Filters
from shared.ids import AccountId, ApiKeyHash, CredentialId

NOW = datetime(2026, 11, 26, tzinfo=UTC)
CALLER = Caller(
    account_id=AccountId("account"),
    api_key_hash=ApiKeyHash("a" * 64),
    member_id=None,
    label="sk-or-v1-...abcd",
    is_management=True,
)
PENDING = CredentialDescription(
    credential_id=CredentialId("credential"),
    provider="openai",
    label="sk-...abcd",
    name=None,
    enabled=True,
    section="prioritized",
    always_use=False,
    order=0,
    filters=Filters(),
    created_at=NOW,
    check=CheckDescription(status="pending", requested_at=NOW),
)


def over(status: CheckStatus = "ok") -> CredentialDescription:
    return msgspec.structs.replace(PENDING, check=CheckDescription(status=status, requested_at=NOW))


@dataclass
class Answers:
    """key_vault's answers; the last one again and again."""

    script: list[Kept | Unavailable]
    asked: list[CredentialId] = field(default_factory=list)

    async def __call__(self, caller: Caller, credential_id: CredentialId) -> Kept:
        assert caller is CALLER
        self.asked.append(credential_id)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Unavailable):
            raise answer
        return answer


async def test_the_result_is_waited_for_even_while_key_vault_is_away() -> None:
    answers = Answers([PENDING, Unavailable("key-vault"), over("refused")])
    assert await AwaitCheck(answers)(CALLER, PENDING) == over("refused")
    assert answers.asked == [PENDING.credential_id] * 3


async def test_what_is_over_or_was_never_asked_for_is_not_waited_for() -> None:
    answers = Answers([PENDING])
    unchecked = msgspec.structs.replace(PENDING, check=None)
    refusal = not_found("no such credential")
    for kept in (over(), unchecked, refusal):
        assert await AwaitCheck(answers)(CALLER, kept) == kept
    assert answers.asked == []


async def test_when_time_runs_out_it_is_kept_and_pending() -> None:
    answers = Answers([PENDING])
    assert await AwaitCheck(answers, wait_seconds_max=0.2)(CALLER, PENDING) == PENDING
    assert answers.asked


async def test_a_credential_that_is_deleted_meanwhile_ends_the_wait() -> None:
    answers = Answers([not_found("no such credential")])
    assert isinstance(await AwaitCheck(answers)(CALLER, PENDING), Refusal)
