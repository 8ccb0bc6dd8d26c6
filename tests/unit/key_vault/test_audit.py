"""What is written of a command, and that whatever is done to a chain afterwards is found."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.key_vault.domain.audit_chain import AuditRow, Damage, Head, link, row_of
from services.key_vault.domain.audit_deeds import Deed, refused
from services.key_vault.domain.policy import Policy
from services.key_vault.use_cases.add_credential import add_credential
from services.key_vault.use_cases.change_credential import change_credential
from services.key_vault.use_cases.delete_credential import delete_credential
from services.key_vault.use_cases.reorder_credentials import reorder_credentials
from services.key_vault.use_cases.verify_audit import Verified, verify_audit
from shared.events.credential_audit import (
    GENESIS,
    Actor,
    AuditChange,
    AuditEntry,
    AuditRefusal,
    CredentialAudited,
    canonical_form,
    hash_of,
)
from shared.events.credentials import DeleteCredential, Filters
from shared.events.envelope import Refused
from shared.ids import AccountId, ApiKeyHash, CredentialId, MemberId
from tests.unit.key_vault.fakes import World
from tests.unit.key_vault.test_commands import (
    ACCOUNT,
    sealed,
    to_add,
    to_change,
    to_delete,
    to_reorder,
)

ACTOR = Actor(
    kind="management_key",
    api_key_hash=ApiKeyHash("a" * 64),
    member_id=MemberId("m1"),
    client_address="192.0.2.1",
    user_agent="curl/8.5.0",
)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    return World()


def audit(world: World) -> list[AuditEntry]:
    return [each.entry for each in world.credentials.audit.get(ACCOUNT, [])]


def changes(entry: AuditEntry) -> dict[str, Any]:
    return {each.field: (each.before, each.after) for each in entry.changes}


UNTOLD = (msgspec.UNSET, msgspec.UNSET)


async def test_an_added_credential_is_written_with_its_policy_and_who_added_it(
    world: World,
) -> None:
    filters = Filters(models=["a/b"])
    await add_credential(
        world.ports, to_add("c1", name="mine", filters=filters, always_use=True, actor=ACTOR)
    )

    (entry,) = audit(world)
    assert (entry.number, entry.previous_hash, entry.action) == (1, GENESIS, "add")
    assert (entry.credential_id, entry.provider, entry.actor) == ("c1", "openai", ACTOR)
    assert entry.command_id == "add-c1"
    told = changes(entry)
    assert told["key"] == told["name"] == UNTOLD
    assert "note" not in told
    assert told["models"] == (msgspec.UNSET, ["a/b"])
    assert told["always_use"] == (msgspec.UNSET, True)
    assert told["order"] == (msgspec.UNSET, 0)


async def test_a_change_is_written_by_field_with_values_before_and_after(world: World) -> None:
    await add_credential(world.ports, to_add("c1", filters=Filters(models=["a/b"])))
    new_key = sealed("sk-9876543210zyxwvuWxYz", "c1", "change")
    change = to_change("c1", sealed_key=new_key, enabled=False, allowed_models=None, note="private")
    await change_credential(world.ports, change)

    told = changes(audit(world)[1])
    assert told == {
        "key": UNTOLD,
        "note": UNTOLD,
        "enabled": (True, False),
        "models": (["a/b"], None),
    }


async def test_no_key_no_ciphertext_and_no_free_text_is_in_the_audit(world: World) -> None:
    canary = "canary0123456789abcdef"
    pasted = f"sk-{canary}"
    await add_credential(
        world.ports,
        to_add("c1", sealed_key=sealed(pasted, "c1", "add-c1"), name=canary, note=canary),
    )
    await change_credential(
        world.ports,
        to_change("c1", sealed_key=sealed(f"{canary} 2", "c1", "change"), name=f"{canary}2"),
    )
    await change_credential(
        world.ports, to_change("c1", command_id="3", name=f"{canary}3", note=f"{canary}3")
    )

    told = [canonical_form(entry).decode() for entry in audit(world)]
    assert len(told) == 3
    assert not [text for text in told if "canary" in text or "vault:" in text]


async def test_a_refused_command_is_written_without_what_follows_the_field(world: World) -> None:
    secret = "s3cret-member"  # a name that was pasted into the key's JSON
    pasted = json.dumps({"api_key": "x", secret: "y"})
    command = to_add("c1", provider="azure", sealed_key=sealed(pasted, "c1", "add-c1"))
    refusal = await add_credential(world.ports, command)
    await delete_credential(world.ports, to_delete("c9"))

    assert isinstance(refusal, Refused)
    first, second = audit(world)
    assert (first.action, first.provider) == ("add", "azure")
    assert first.refused == AuditRefusal(code="invalid", field="key")
    assert secret not in canonical_form(first).decode()
    assert (second.action, second.credential_id) == ("delete", "c9")
    assert second.refused == AuditRefusal(code="not_found")


@pytest.mark.parametrize("path", ["key", "key.pasted", "key[1].pasted", "key[1]"])
def test_of_a_refusals_path_only_the_beginning_is_written(path: str) -> None:
    refusal = Refused(code="invalid", field=path, message="There is no field pasted.")
    assert refused(to_add("c1"), refusal).refused == AuditRefusal(code="invalid", field="key")


async def test_a_change_without_effect_and_a_repeated_command_leave_nothing(world: World) -> None:
    await add_credential(world.ports, to_add("c1"))
    await add_credential(world.ports, to_add("c1"))
    await change_credential(world.ports, to_change("c1", enabled=True))

    assert [each.action for each in audit(world)] == ["add"]


async def test_an_order_is_written_for_each_credential_that_it_moves(world: World) -> None:
    for each in ("c1", "c2", "c3"):
        await add_credential(world.ports, to_add(each))
    await reorder_credentials(world.ports, to_reorder(["c1", "c3"], ["c2"], actor=ACTOR))

    moved = {each.credential_id: changes(each) for each in audit(world)[3:]}
    assert moved == {
        "c3": {"order": (2, 1)},
        "c2": {"section": ("prioritized", "fallback"), "order": (1, 0)},
    }
    assert all(each.actor == ACTOR for each in audit(world)[3:])


async def test_deleting_ends_what_is_known_of_a_credential_but_not_its_audit(world: World) -> None:
    await add_credential(world.ports, to_add("c1"))
    await delete_credential(world.ports, to_delete("c1"))

    assert [(each.number, each.action) for each in audit(world)] == [(1, "add"), (2, "delete")]


async def test_every_field_of_a_policy_is_audited(world: World) -> None:
    filters = Filters(models=["a"], api_key_hashes=[ApiKeyHash("0" * 64)], member_ids=[])
    filters = msgspec.structs.replace(filters, member_ids=[MemberId("m")])
    await add_credential(world.ports, to_add("c1", name="n", note="n", filters=filters))

    known = {each.name for each in fields(Policy)} - {"filters"}
    known |= {each.name for each in msgspec.structs.fields(Filters)} | {"key"}
    assert set(changes(audit(world)[0])) == known


def test_the_canonical_form_and_its_hash_stay_as_they_are() -> None:
    entry = AuditEntry(
        account_id=AccountId("a"),
        number=2,
        previous_hash="0" * 64,
        at=NOW,
        action="change",
        command_id="k",
        credential_id=CredentialId("c"),
        actor=Actor(kind="operator", operator="é"),
        changes=[AuditChange(field="key"), AuditChange(field="models", before=["b"], after=None)],
    )
    assert canonical_form(entry).decode() == (
        '{"account_id":"a","action":"change","actor":{"kind":"operator","operator":"é"},'
        '"at":"2026-01-02T03:04:05.000678Z","changes":[{"field":"key"},'
        '{"after":null,"before":["b"],"field":"models"}],"command_id":"k","credential_id":"c",'
        '"number":2,"previous_hash":"' + "0" * 64 + '"}'
    )
    assert hash_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert msgspec.json.decode(canonical_form(entry), type=AuditEntry) == entry


def chain(account: str, length: int) -> list[CredentialAudited]:
    command = DeleteCredential(
        command_id="k", account_id=AccountId(account), credential_id=CredentialId("c")
    )
    deed = Deed(action="delete", credential_id=CredentialId("c"), provider="openai")
    return link(Head(), [deed] * length, command, NOW)


@dataclass
class KeptAudit:
    """The port AuditChains over rows."""

    kept: list[AuditRow]

    async def rows(self) -> AsyncIterator[AuditRow]:
        for each in sorted(self.kept, key=lambda row: (row.account_id, row.number)):
            yield each

    async def hashes(
        self, places: Sequence[tuple[AccountId, int]]
    ) -> Mapping[tuple[AccountId, int], str]:
        known = {(each.account_id, each.number): each.hash for each in self.kept}
        return {place: known[place] for place in places if place in known}


@dataclass
class Told:
    """The port PublishedAudit over events, two at a time."""

    events: list[CredentialAudited]

    async def batches(self) -> AsyncIterator[Sequence[CredentialAudited]]:
        for start in range(0, len(self.events), 2):
            yield self.events[start : start + 2]


async def damages(
    kept: list[AuditRow], published: list[CredentialAudited]
) -> tuple[Verified, list[Damage]]:
    found: list[Damage] = []
    verified = await verify_audit(KeptAudit(kept), Told(published), found.append)
    assert verified.damaged == len(found)
    return verified, found


def rewritten(row: AuditRow, **changed: Any) -> AuditRow:
    """The row as one writes it who also makes a right hash."""
    entry = msgspec.structs.replace(msgspec.json.decode(row.entry, type=AuditEntry), **changed)
    canonical = canonical_form(entry)
    return replace(row, entry=canonical.decode(), hash=hash_of(canonical))


async def test_chains_that_nobody_touched_are_whole() -> None:
    published = [*chain("a", 3), *chain("b", 2)]
    verified, found = await damages([row_of(each) for each in published], published)
    assert found == []
    assert verified == Verified(accounts=2, entries=5, published=5, damaged=0)


async def test_published_entries_that_kafka_no_longer_keeps_are_no_damage() -> None:
    published = chain("a", 5)
    _, found = await damages([row_of(each) for each in published], published[3:])
    assert found == []


async def test_each_kind_of_damage_is_named_at_its_place() -> None:
    published = [*chain("a", 4), *chain("b", 1)]
    rows = [row_of(each) for each in published]

    async def told(kept: list[AuditRow]) -> list[tuple[str, int, str]]:
        _, found = await damages(kept, published)
        return [(each.account_id, each.number, each.what) for each in found]

    altered = replace(rows[1], entry=rows[1].entry.replace("openai", "azure"))
    assert await told([rows[0], altered, *rows[2:]]) == [
        ("a", 2, "it was altered: it does not have its hash")
    ]
    assert await told([rows[0], *rows[3:]]) == [
        ("a", 4, "entries 2 to 3 are missing"),
        ("a", 2, "it was published and is gone"),
        ("a", 3, "it was published and is gone"),
    ]
    assert await told([*rows[:3], rows[4]]) == [("a", 4, "it was published and is gone")]
    assert await told(rows[:4]) == [("b", 1, "it was published and is gone")]
    forged = rewritten(rows[1], provider="azure")
    assert await told([rows[0], forged, *rows[2:]]) == [
        ("a", 3, "it does not follow from entry 2"),
        ("a", 2, "it was published with another hash: it was replaced"),
    ]
    moved = replace(rows[4], account_id=AccountId("c"))
    assert ("c", 1, "it is entry 1 of account b") in await told([*rows[:4], moved])
    unreadable = replace(rows[3], entry="{}", hash=hash_of(b"{}"))
    assert ("a", 4, "it cannot be read") in await told([*rows[:3], unreadable, rows[4]])


async def test_a_chain_that_was_cut_and_went_on_is_found_whichever_end_it_has() -> None:
    published = chain("a", 3)
    head = Head(number=1, hash=published[0].hash)
    command = DeleteCredential(
        command_id="later", account_id=AccountId("a"), credential_id=CredentialId("c")
    )
    deed = Deed(action="delete", credential_id=CredentialId("c"), provider="openai")
    went_on = link(head, [deed, deed], command, NOW)
    for kept in (published, [published[0], *went_on]):
        _, found = await damages([row_of(each) for each in kept], [*published, *went_on])
        assert [(each.number, each.what) for each in found] == [
            (number, "it was published with another hash: it was replaced") for number in (2, 3)
        ]


@given(st.data())
async def test_whatever_one_does_to_a_chain_is_found(data: st.DataObject) -> None:
    published = [*chain("a", 6), *chain("b", 3)]
    rows = [row_of(each) for each in published]
    place = data.draw(st.integers(0, len(rows) - 1))
    row = rows[place]
    deed = data.draw(st.sampled_from(["remove", "cut", "alter", "forge", "rechain", "swap"]))
    if deed == "remove":
        del rows[place]
    elif deed == "cut":
        rows = [each for each in rows if each.account_id != "a" or each.number <= place % 6]
    elif deed == "alter":
        at = data.draw(st.integers(0, len(row.entry) - 1))
        other = data.draw(st.characters(codec="ascii").filter(lambda c: c != row.entry[at]))
        rows[place] = replace(row, entry=row.entry[:at] + other + row.entry[at + 1 :])
    elif deed == "forge":
        rows[place] = rewritten(row, command_id="other")
    elif deed == "rechain":
        rows[place] = rewritten(row, command_id="other")
        for after in range(place + 1, len(rows)):
            if rows[after].account_id == row.account_id:
                rows[after] = rewritten(rows[after], previous_hash=rows[after - 1].hash)
    else:
        with_ = data.draw(st.integers(0, len(rows) - 1).filter(lambda number: number != place))
        other_row = rows[with_]
        rows[place] = replace(row, entry=other_row.entry, hash=other_row.hash)
        rows[with_] = replace(other_row, entry=row.entry, hash=row.hash)

    _, found = await damages(rows, published)

    assert found
