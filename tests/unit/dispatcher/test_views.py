"""What the dispatcher knows from state topics, record by record."""

from typing import Any

import msgspec

from services.dispatcher.outbound.balances_view import BalancesView
from services.dispatcher.outbound.catalog_view import CatalogView
from services.dispatcher.outbound.credentials_view import CredentialsView
from shared.events.codec import Received
from shared.events.credentials import CredentialRemoved, CredentialsHeartbeat, credential_key
from shared.events.envelope import Envelope, Event
from shared.ids import CredentialId, EventId
from shared.kafka.config import KafkaConfig
from shared.kafka.view import STALE_SECONDS
from tests.unit.dispatcher.made import ACCOUNT, MODEL, OTHER_ACCOUNT, balance, credential, model
from tests.unit.dispatcher.world import AdjustableClock

_KAFKA = KafkaConfig(bootstrap_servers="127.0.0.1:1")
_DEAD_LETTERS: Any = None  # nothing unreadable comes here


def record(event: Event, key: str) -> Received:
    return Received(
        envelope=Envelope(id=EventId("e"), source="test", type="t", time=AdjustableClock().now()),
        event=event,
        key=key.encode(),
        headers={},
        content=None,
        topic="t",
        partition=0,
        offset=0,
    )


def credentials(changed: list[CredentialId]) -> CredentialsView:
    return CredentialsView(
        _KAFKA, clock=AdjustableClock(), dead_letters=_DEAD_LETTERS, on_new_secret=changed.append
    )


def put(view: CredentialsView, *states: Any) -> None:
    for state in states:
        key = credential_key(state.account_id, state.credential_id)
        view.view.apply(record(state, key))


def test_credentials_are_kept_by_account() -> None:
    view = credentials([])
    mine, theirs = credential("a"), credential("b", account_id=OTHER_ACCOUNT)
    put(view, mine, theirs)
    assert list(view.of(ACCOUNT)) == [mine]
    assert list(view.of(OTHER_ACCOUNT)) == [theirs]
    put(view, CredentialRemoved(version=2, account_id=ACCOUNT, credential_id=mine.credential_id))
    assert list(view.of(ACCOUNT)) == []


def test_a_new_secret_a_switch_and_a_removal_are_told_and_a_new_order_is_not() -> None:
    told: list[CredentialId] = []
    view = credentials(told)
    put(view, credential("a"), credential("a", version=2, order=9))
    assert told == []
    put(view, credential("a", version=3, secret_revision=2))
    put(view, credential("a", version=4, secret_revision=2, enabled=False))
    put(view, CredentialRemoved(version=5, account_id=ACCOUNT, credential_id=CredentialId("a")))
    assert told == ["a", "a", "a"]


def test_a_credential_is_current_until_anything_of_it_changes() -> None:
    view = credentials([])
    before = credential("a")
    put(view, before)
    assert view.is_current(before)
    put(view, credential("a", version=2, always_use=True))
    assert not view.is_current(before)


def test_a_rewrapped_ciphertext_changes_nothing_of_a_plan_and_is_the_one_to_open() -> None:
    told: list[CredentialId] = []
    view = credentials(told)
    before = credential("a")
    put(view, before)
    after = msgspec.structs.replace(before, version=2, ciphertext="vault:v2:rewrapped")
    put(view, after)
    assert view.is_current(before)
    assert view.newest_ciphertext(before) == "vault:v2:rewrapped"
    assert told == []
    new_key = msgspec.structs.replace(after, version=3, secret_revision=2, ciphertext="vault:v2:k")
    put(view, new_key)
    assert not view.is_current(before)
    assert view.newest_ciphertext(before) == before.ciphertext


def test_credentials_are_a_problem_until_read_and_counted() -> None:
    view = credentials([])
    heartbeat = CredentialsHeartbeat(
        instance_id="key-vault-0", sent_at=AdjustableClock().now(), live_count=1
    )
    view.view.apply(record(heartbeat, "key-vault-0"))
    assert view.problem() is not None


def test_the_catalog_gives_models_by_slug() -> None:
    view = CatalogView(_KAFKA, clock=AdjustableClock(), dead_letters=_DEAD_LETTERS)
    view.view.apply(record(model(), MODEL))
    assert view.model(MODEL) == model()
    assert view.model("no/such") is None


def test_a_balance_is_not_fresh_while_billing_is_not_heard() -> None:
    view = BalancesView(_KAFKA, clock=AdjustableClock(), dead_letters=_DEAD_LETTERS)
    assert view.of(ACCOUNT).balance is None
    view.view.apply(record(balance(month="2026-11", used=5), ACCOUNT))
    seen = view.of(ACCOUNT)
    assert seen.balance is not None
    assert (seen.balance.allotment_used, seen.is_fresh, seen.used_recently) == (5, False, 0)


def test_a_view_that_was_well_is_stale_once_its_writer_has_been_silent() -> None:
    clock = AdjustableClock()
    view = CredentialsView(
        _KAFKA, clock=clock, dead_letters=_DEAD_LETTERS, on_new_secret=lambda _: None
    )

    def beat(live_count: int) -> None:
        heard = CredentialsHeartbeat(
            instance_id="key-vault-0", sent_at=clock.now(), live_count=live_count
        )
        view.view.apply(record(heard, "heartbeat"))

    assert "read to its end" in (view.problem() or "")
    view.view.ready.set()
    assert "stale" in (view.problem() or "")
    beat(0)
    assert view.problem() is None
    clock.advance(STALE_SECONDS - 1)
    assert view.problem() is None
    clock.advance(2)
    assert "stale" in (view.problem() or "")
    beat(0)
    assert view.problem() is None
    for _ in range(3):
        beat(7)
    assert "incomplete" in (view.problem() or "")
    beat(0)
    assert view.problem() is None
