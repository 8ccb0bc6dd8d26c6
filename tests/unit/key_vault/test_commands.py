"""Commands and their outcomes, with the servers stood in for."""

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest

from services.key_vault.domain.credential import CREDENTIALS_MAX, state_of
from services.key_vault.use_cases.add_credential import add_credential
from services.key_vault.use_cases.change_credential import change_credential
from services.key_vault.use_cases.delete_credential import delete_credential
from services.key_vault.use_cases.read_credentials import get_credential, list_credentials
from services.key_vault.use_cases.reorder_credentials import reorder_credentials
from shared.errors import Unavailable
from shared.events.credential_secrets import StringSecret, decode_secret
from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    CredentialChanged,
    CredentialDescription,
    CredentialForgotten,
    CredentialKept,
    CredentialsListed,
    CredentialsReordered,
    DeleteCredential,
    Deployment,
    Filters,
    GetCredential,
    ListCredentials,
    ReorderCredentials,
    Resource,
    intake_context,
)
from shared.events.envelope import Refused
from shared.ids import AccountId, ApiKeyHash, CredentialId, MemberId
from tests.unit.key_vault.fakes import World

ACCOUNT = AccountId("account-1")
KEY = "sk-0123456789abcdefAbCd"
HASH = ApiKeyHash("0" * 64)


@pytest.fixture
def world() -> World:
    return World()


def sealed(key: str, credential: str, command_id: str) -> str:
    return f"{intake_context(ACCOUNT, CredentialId(credential), command_id).decode()}|{key}"


def to_add(credential: str, key: str = KEY, **fields: Any) -> AddCredential:
    given = {
        "command_id": f"add-{credential}",
        "account_id": ACCOUNT,
        "credential_id": CredentialId(credential),
        "provider": "openai",
        "sealed_key": sealed(key, credential, f"add-{credential}"),
    }
    return AddCredential(**(given | fields))


def to_change(credential: str, command_id: str = "change", **fields: Any) -> ChangeCredential:
    return ChangeCredential(
        command_id=command_id,
        account_id=ACCOUNT,
        credential_id=CredentialId(credential),
        **fields,
    )


def to_delete(credential: str) -> DeleteCredential:
    return DeleteCredential(
        command_id="delete", account_id=ACCOUNT, credential_id=CredentialId(credential)
    )


def to_reorder(
    prioritized: list[str], fallback: list[str], command_id: str = "reorder", **fields: Any
) -> ReorderCredentials:
    given = {
        "command_id": command_id,
        "account_id": ACCOUNT,
        "provider": "openai",
        "prioritized": [CredentialId(each) for each in prioritized],
        "fallback": [CredentialId(each) for each in fallback],
    }
    return ReorderCredentials(**(given | fields))


async def added(world: World, credential: str, **fields: Any) -> CredentialDescription:
    kept = await add_credential(world.ports, to_add(credential, **fields))
    assert isinstance(kept, CredentialKept), kept
    return kept.credential


async def changed(world: World, credential: str, **fields: Any) -> CredentialDescription:
    kept = await change_credential(world.ports, to_change(credential, **fields))
    assert isinstance(kept, CredentialKept), kept
    return kept.credential


def stored(world: World, credential: str) -> Any:
    return world.credentials.kept.get((ACCOUNT, CredentialId(credential)))


async def test_a_key_is_encrypted_kept_published_and_described(world: World) -> None:
    description = await added(world, "c1", name="  main ", always_use=True)

    assert description.label == "sk-...AbCd"
    assert (description.name, description.always_use) == ("main", True)
    assert decode_secret(world.encryption.encrypted[0]) == StringSecret(value=KEY)
    assert stored(world, "c1").secret.ciphertext == "vault:v1:1"
    assert world.publisher.published == [(ACCOUNT, "c1")]


async def test_a_newcomer_goes_behind_the_last_of_its_section(world: World) -> None:
    first = await added(world, "c1")
    second = await added(world, "c2", order=7)
    third = await added(world, "c3")
    fallback = await added(world, "c4", section="fallback")
    elsewhere = await added(world, "c5", provider="mistral")

    orders = [each.order for each in (first, second, third, fallback, elsewhere)]
    assert orders == [0, 7, 8, 0, 0]


async def test_a_credential_that_moves_to_the_other_section_goes_to_its_end(world: World) -> None:
    await added(world, "c1", section="fallback", order=4)
    await added(world, "c2", order=9)

    moved = await changed(world, "c2", section="fallback")
    placed = await changed(world, "c1", command_id="2", section="prioritized", order=3)

    assert (moved.section, moved.order) == ("fallback", 5)
    assert (placed.section, placed.order) == ("prioritized", 3)


async def test_a_change_keeps_what_it_does_not_name_and_clears_what_is_none(world: World) -> None:
    filters = Filters(models=["a/b"], api_key_hashes=[HASH], member_ids=[MemberId("m1")])
    before = await added(world, "c1", name="main", filters=filters)

    after = await changed(world, "c1", enabled=False, name=None, allowed_models=None)

    assert after == msgspec.structs.replace(
        before, enabled=False, name=None, filters=msgspec.structs.replace(filters, models=None)
    )
    assert (stored(world, "c1").version, stored(world, "c1").secret_revision) == (2, 1)


async def test_a_change_that_changes_nothing_makes_no_new_version(world: World) -> None:
    before = await added(world, "c1", name="main")

    assert await changed(world, "c1", name="main", enabled=True) == before
    assert stored(world, "c1").version == 1


async def test_a_new_key_has_a_new_label_and_revision(world: World) -> None:
    await added(world, "c1")
    new_key = sealed("pk-9876543210zyxwvuWxYz", "c1", "change")

    after = await changed(world, "c1", sealed_key=new_key)

    assert after.label == "pk-...WxYz"
    assert (stored(world, "c1").version, stored(world, "c1").secret_revision) == (2, 2)
    assert stored(world, "c1").secret.ciphertext == "vault:v1:2"


async def test_a_deleted_credential_is_gone_and_its_id_stays_taken(world: World) -> None:
    await added(world, "c1")

    forgotten = await delete_credential(world.ports, to_delete("c1"))

    assert forgotten == CredentialForgotten(credential_id=CredentialId("c1"))
    assert world.credentials.removed[ACCOUNT, CredentialId("c1")].version == 2
    again = to_add("c1", command_id="again", sealed_key=sealed(KEY, "c1", "again"))
    refused = await add_credential(world.ports, again)
    assert isinstance(refused, Refused)
    assert refused.code == "conflict"
    late = await change_credential(world.ports, to_change("c1", enabled=False))
    assert isinstance(late, Refused)
    assert late.code == "not_found"


async def test_a_command_delivered_twice_has_one_effect_and_one_answer(world: World) -> None:
    first = await add_credential(world.ports, to_add("c1"))
    await changed(world, "c1", enabled=False)

    second = await add_credential(world.ports, to_add("c1"))

    assert second == first
    assert stored(world, "c1").policy.enabled is False
    assert len(world.encryption.encrypted) == 1


async def test_two_deliveries_at_the_same_time_have_one_effect(world: World) -> None:
    async def overtaking() -> Any:
        return await add_credential(World(credentials=world.credentials).ports, to_add("c1"))

    coroutine = overtaking()

    def let_the_other_one_through() -> None:
        world.credentials.before_transaction = lambda: None
        with pytest.raises(StopIteration):
            coroutine.send(None)

    world.credentials.before_transaction = let_the_other_one_through

    second = await add_credential(world.ports, to_add("c1"))

    assert isinstance(second, CredentialKept)
    assert stored(world, "c1").version == 1
    assert stored(world, "c1").secret.ciphertext == "vault:v1:1"


async def test_a_command_id_serves_one_command_only(world: World) -> None:
    await added(world, "c1")

    refused = await delete_credential(
        world.ports, msgspec.structs.replace(to_delete("c1"), command_id="add-c1")
    )

    assert isinstance(refused, Refused)
    assert refused.code == "conflict"
    assert stored(world, "c1") is not None


async def test_another_account_sees_nothing(world: World) -> None:
    await added(world, "c1")
    stranger, credential = AccountId("account-2"), CredentialId("c1")

    answers = [
        await get_credential(
            world.ports, GetCredential(account_id=stranger, credential_id=credential)
        ),
        await change_credential(
            world.ports,
            msgspec.structs.replace(to_change("c1", enabled=False), account_id=stranger),
        ),
        await delete_credential(
            world.ports, msgspec.structs.replace(to_delete("c1"), account_id=stranger)
        ),
    ]

    unknown = await get_credential(
        world.ports, GetCredential(account_id=ACCOUNT, credential_id=CredentialId("c9"))
    )
    assert answers == [unknown] * 3
    assert isinstance(unknown, Refused)
    assert unknown.code == "not_found"


async def test_a_sealed_key_of_another_command_does_not_open(world: World) -> None:
    refused = await add_credential(
        world.ports, to_add("c1", sealed_key=sealed(KEY, "c1", "another"))
    )

    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", "key")
    assert stored(world, "c1") is None


async def test_an_account_keeps_a_thousand_credentials_at_most(world: World) -> None:
    first = await added(world, "c0")
    template = stored(world, "c0")
    for number in range(1, CREDENTIALS_MAX):
        world.credentials.kept[ACCOUNT, CredentialId(f"c{number}")] = template

    refused = await add_credential(world.ports, to_add("one-more"))

    assert first.order == 0
    assert isinstance(refused, Refused)
    assert refused.code == "conflict"


async def test_without_vault_nothing_is_written(world: World) -> None:
    world.encryption.is_available = False

    with pytest.raises(Unavailable):
        await add_credential(world.ports, to_add("c1"))

    assert not world.credentials.kept
    assert not world.credentials.commands


async def test_no_answer_is_given_before_kafka_has_the_state(world: World) -> None:
    world.publisher.is_available = False
    with pytest.raises(Unavailable):
        await add_credential(world.ports, to_add("c1"))
    world.publisher.is_available = True

    kept = await add_credential(world.ports, to_add("c1"))

    assert isinstance(kept, CredentialKept)
    assert world.publisher.published == [(ACCOUNT, "c1")]
    assert len(world.encryption.encrypted) == 1


BAD_FIELDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("name", {"name": "x" * 256}, {"name": "x" * 256}),
    ("name", {"name": "a\0b"}, {"name": "a\nb"}),
    ("name", {"name": "a\u202eb"}, {"name": "\x1b[0m"}),
    ("note", {"note": "x" * 1001}, {"note": "x" * 1001}),
    ("note", {"note": "a\0b"}, {"note": "a\u2066b"}),
    ("order", {"order": -1}, {"order": -1}),
    ("order", {"order": 10**9}, {"order": 10**18}),
    ("models", {"filters": Filters(models=[])}, {"allowed_models": []}),
    ("models", {"filters": Filters(models=["a/b"] * 101)}, {"allowed_models": ["a/b"] * 101}),
    ("models[1]", {"filters": Filters(models=["a", "b c"])}, {"allowed_models": ["a", ""]}),
    (
        "api_key_hashes[0]",
        {"filters": Filters(api_key_hashes=[ApiKeyHash("A" * 64)])},
        {"allowed_api_key_hashes": ["0" * 63]},
    ),
    (
        "member_ids[0]",
        {"filters": Filters(member_ids=[MemberId("a/b")])},
        {"allowed_member_ids": [""]},
    ),
]


@pytest.mark.parametrize(("field", "adding", "changing"), BAD_FIELDS)
async def test_a_wrong_field_is_named_and_nothing_is_written(
    world: World, field: str, adding: dict[str, Any], changing: dict[str, Any]
) -> None:
    await added(world, "c1")
    filtered = field not in {"name", "note", "order"}

    not_added = await add_credential(world.ports, to_add("c2", **adding))
    not_changed = await change_credential(world.ports, to_change("c1", **changing))

    assert isinstance(not_added, Refused)
    assert not_added.field == (f"filters.{field}" if filtered else field)
    assert isinstance(not_changed, Refused)
    assert not_changed.field == (f"allowed_{field}" if filtered else field)
    assert stored(world, "c2") is None
    assert stored(world, "c1").version == 1


@pytest.mark.parametrize("odd", ["", "a/b", "\0", "é", "x" * 65])
async def test_odd_ids_are_refused_before_anything_is_asked(world: World, odd: str) -> None:
    for command in (
        to_add("c1", account_id=AccountId(odd)),
        to_add("c1", command_id=odd),
        to_add(odd),
    ):
        refused = await add_credential(world.ports, command)
        assert isinstance(refused, Refused)
        assert refused.code == "invalid"
    gone = await delete_credential(world.ports, to_delete(odd))
    assert isinstance(gone, Refused)
    assert gone.code == "not_found"
    assert not world.credentials.commands


async def test_pages_are_bounded(world: World) -> None:
    for number in range(3):
        await added(world, f"c{number}")

    page = await list_credentials(
        world.ports, ListCredentials(account_id=ACCOUNT, offset=1, limit=1)
    )
    refused = [
        await list_credentials(
            world.ports, ListCredentials(account_id=ACCOUNT, offset=offset, limit=limit)
        )
        for offset, limit in ((-1, 50), (0, 0), (0, 101), (2**62, 50))
    ]

    assert isinstance(page, CredentialsListed)
    assert ([each.credential_id for each in page.credentials], page.total) == (["c1"], 3)
    assert [each.field for each in refused if isinstance(each, Refused)] == [
        "offset",
        "limit",
        "limit",
        "offset",
    ]


AZURE_DEPLOYMENT = {
    "model_slug": "openai/gpt-4o",
    "endpoint_url": "https://r.openai.azure.com/chat/completions?api-version=2024-10-21",
    "api_key": KEY,
    "model_id": "gpt-4o",
}
AZURE_RESOURCE = {"resource_name": "r", "api_key": KEY}


def azure(credential: str) -> AddCredential:
    return to_add(credential, provider="azure")


def with_key(command: AddCredential, key: str) -> AddCredential:
    credential, command_id = command.credential_id, command.command_id
    return msgspec.structs.replace(command, sealed_key=sealed(key, credential, command_id))


async def test_deployments_and_resources_are_kept_side_by_side(world: World) -> None:
    command = with_key(azure("c1"), json.dumps([AZURE_DEPLOYMENT, AZURE_RESOURCE]))

    assert isinstance(await add_credential(world.ports, command), CredentialKept)

    state = state_of(stored(world, "c1"))
    assert isinstance(state, CredentialChanged)
    assert state.deployments == [Deployment(model_slug="openai/gpt-4o", model_id="gpt-4o")]
    assert state.resources == (Resource(resource_name="r"),)


async def test_a_deployment_of_an_unknown_model_is_refused_with_the_nearest(world: World) -> None:
    unknown = AZURE_DEPLOYMENT | {"model_slug": "openai/gpt-4"}
    command = with_key(azure("c1"), json.dumps([AZURE_RESOURCE, unknown]))

    refused = await add_credential(world.ports, command)

    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", "key[1].model_slug")
    assert "did you mean openai/gpt-4o?" in refused.message
    assert world.encryption.encrypted == []


async def test_without_the_catalog_only_what_names_a_model_must_wait(world: World) -> None:
    world.catalog.models = None
    named = with_key(azure("c1"), json.dumps(AZURE_DEPLOYMENT))

    with pytest.raises(Unavailable, match="catalog"):
        await add_credential(world.ports, named)

    assert stored(world, "c1") is None
    assert world.credentials.commands == {}
    whole = with_key(azure("c2"), json.dumps(AZURE_RESOURCE))
    assert isinstance(await add_credential(world.ports, whole), CredentialKept)
    wrong = with_key(azure("c3"), json.dumps(AZURE_DEPLOYMENT | {"api_key": ""}))
    assert isinstance(await add_credential(world.ports, wrong), Refused)
    await added(world, "c4")


async def test_a_short_term_key_is_held_against_the_time_of_the_command(world: World) -> None:
    query = (
        "X-Amz-Credential=ASIAIOSFODNN7EXAMPLE/20251231/eu-west-1/bedrock/aws4_request"
        "&X-Amz-Date=20251231T120000Z&X-Amz-Expires={}&X-Amz-Signature=0"
    )
    for credential, seconds, kept in (("c1", 43_200, False), ("c2", 50_000, True)):
        text = f"bedrock.amazonaws.com/?{query.format(seconds)}"
        key = "bedrock-api-key-" + b64encode(text.encode()).decode()
        command = with_key(to_add(credential, provider="amazon-bedrock"), key)
        answer = await add_credential(world.ports, command)
        assert isinstance(answer, CredentialKept) is kept, answer


async def test_a_note_is_kept_line_by_line_changed_and_cleared(world: World) -> None:
    described = await added(world, "c1", note=" first\r\nsecond \n")
    assert described.note == "first\nsecond"

    assert (await changed(world, "c1", enabled=False)).note == "first\nsecond"
    assert (await changed(world, "c1", command_id="2", note=" ")).note is None


async def test_an_order_sets_places_and_sections_and_is_published(world: World) -> None:
    for each in ("c1", "c2", "c3"):
        await added(world, each)
    await added(world, "elsewhere", provider="mistral", order=7)
    world.publisher.published.clear()

    command = to_reorder(["c3", "c1"], ["c2"])
    answer = await reorder_credentials(world.ports, command)

    assert answer == CredentialsReordered(
        provider="openai", prioritized=command.prioritized, fallback=command.fallback
    )
    places = {
        each: (stored(world, each).policy.section, stored(world, each).policy.order)
        for each in ("c1", "c2", "c3", "elsewhere")
    }
    assert places == {
        "c1": ("prioritized", 1),
        "c2": ("fallback", 0),
        "c3": ("prioritized", 0),
        "elsewhere": ("prioritized", 7),
    }
    assert [stored(world, each).version for each in ("c1", "c2", "c3")] == [2, 2, 2]
    assert stored(world, "c1").secret_revision == 1
    assert {each for _, each in world.publisher.published} == {"c1", "c2", "c3"}


async def test_the_same_order_again_changes_nothing(world: World) -> None:
    for each in ("c1", "c2"):
        await added(world, each)
    first = await reorder_credentials(world.ports, to_reorder(["c2", "c1"], []))
    await changed(world, "c1", order=9)

    delivered_again = await reorder_credentials(world.ports, to_reorder(["c2", "c1"], []))
    assert delivered_again == first
    assert stored(world, "c1").policy.order == 9

    sent_again = to_reorder(["c2", "c1"], [], command_id="again")
    assert await reorder_credentials(world.ports, sent_again) == first
    assert (stored(world, "c1").version, stored(world, "c2").version) == (4, 2)


@pytest.mark.parametrize(
    ("prioritized", "fallback", "code", "told"),
    [
        (["c1"], [], "conflict", "leaves out c2"),
        (["c1"], ["c2", "gone"], "conflict", "gone: no openai credential"),
        (["c1", "c2"], ["elsewhere"], "conflict", "elsewhere: no openai credential"),
        (["c1", "c2"], ["c1"], "invalid", "fallback[0] is named twice"),
        (["c1", "c1"], ["c2"], "invalid", "prioritized[1] is named twice"),
        (["c1", "a/b"], ["c2"], "invalid", "prioritized[1] must be a credential's id"),
        (["c1", "c2", *map(str, range(1000))], [], "invalid", "more than 1000"),
    ],
)
async def test_an_order_must_name_each_credential_of_the_provider_once(
    world: World, prioritized: list[str], fallback: list[str], code: str, told: str
) -> None:
    await added(world, "c1")
    await added(world, "c2")
    await added(world, "elsewhere", provider="mistral")

    refused = await reorder_credentials(world.ports, to_reorder(prioritized, fallback))

    assert isinstance(refused, Refused)
    assert refused.code == code
    assert told in refused.message
    assert [stored(world, each).version for each in ("c1", "c2")] == [1, 1]


async def test_another_accounts_credentials_cannot_be_ordered(world: World) -> None:
    await added(world, "c1")
    stranger = AccountId("account-2")
    refused = await reorder_credentials(world.ports, to_reorder(["c1"], [], account_id=stranger))
    assert isinstance(refused, Refused)
    assert refused.code == "conflict"
    assert stored(world, "c1").version == 1
