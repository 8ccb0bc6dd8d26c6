"""What accounts do with their credentials, on the real servers."""

import asyncio
import json
from dataclasses import replace

import msgspec
import pytest

from shared.events.credential_secrets import (
    AwsSecret,
    AzureSecret,
    BedrockApiKeySecret,
    CredentialSecret,
    StringSecret,
    VertexSecret,
    decode_secret,
)
from shared.events.credentials import (
    CredentialForgotten,
    CredentialKept,
    CredentialsListed,
    Deployment,
    Filters,
    GetCredential,
    ListCredentials,
    Resource,
    credential_context,
)
from shared.events.envelope import Refused
from shared.ids import AccountId, CredentialId, new_id
from tests.conftest import Infrastructure
from tests.integration.key_vault.client import Client, account_id
from tests.integration.key_vault.conftest import KeyVaultProcess
from tests.integration.key_vault.dispatcher import opened_by_dispatcher
from tests.support.canary import Search
from tests.support.pasted_keys import AWS, LONG_TERM_KEY, service_account
from tests.support.wait_until import wait_until

AZURE = [
    {
        "model_slug": "mistralai/mistral-large",
        "endpoint_url": "https://example-project.openai.azure.com/openai/deployments/mistral-large"
        "/chat/completions?api-version=2024-08-01-preview",
        "api_key": "azure-canary-6f1d2c8b7a9e4055-AAAA",
        "model_id": "mistral-large",
    },
    {
        "model_slug": "openai/gpt-4o",
        "endpoint_url": "https://example-project.services.ai.azure.com/deployments/gpt-4o"
        "/chat/completions?api-version=2024-08-01-preview",
        "api_key": "azure-canary-6f1d2c8b7a9e4055-BBBB",
        "model_id": "gpt-4o",
    },
]

pytestmark = pytest.mark.connected


async def test_an_added_key_reaches_the_dispatcher_and_nobody_else(
    client: Client, infrastructure: Infrastructure
) -> None:
    key = "sk-proj-canary-0123456789-abcdefAbCd"

    credential = await client.add("openai", key, name="main")

    state = await client.state_at(credential, 1)
    assert state.label == "sk-...AbCd"
    assert state.secret_revision == 1
    assert state.deployments is None
    context = credential_context(client.account, credential)
    document = await opened_by_dispatcher(infrastructure, state.ciphertext, context)
    assert decode_secret(document) == StringSecret(value=key)


async def test_an_azure_array_names_its_deployments_outside_the_ciphertext(
    client: Client, infrastructure: Infrastructure
) -> None:
    credential = await client.add("azure", json.dumps(AZURE))

    state = await client.state_at(credential, 1)
    assert state.label == "azure-...AAAA (+1)"
    assert state.deployments == [
        Deployment(model_slug="mistralai/mistral-large", model_id="mistral-large"),
        Deployment(model_slug="openai/gpt-4o", model_id="gpt-4o"),
    ]
    context = credential_context(client.account, credential)
    document = await opened_by_dispatcher(infrastructure, state.ciphertext, context)
    secret = decode_secret(document)
    assert isinstance(secret, AzureSecret)
    assert msgspec.to_builtins(secret.deployments) == AZURE


async def test_a_whole_azure_resource_is_named_outside_the_ciphertext_and_survives_a_change(
    client: Client, infrastructure: Infrastructure
) -> None:
    resource = {"resource_name": "our-foundry", "resource_type": "ai_foundry", "api_key": "f" * 32}
    credential = await client.add("azure", json.dumps([AZURE[0], resource]))

    await client.change(credential, name="renamed")

    state = await client.state_at(credential, 2)
    assert state.label == "azure-...AAAA (+1)"
    assert state.deployments == [
        Deployment(model_slug="mistralai/mistral-large", model_id="mistral-large")
    ]
    assert state.resources == (Resource(resource_name="our-foundry"),)
    secret = await opened(client, infrastructure, credential)
    assert isinstance(secret, AzureSecret)
    assert msgspec.to_builtins(secret.resources) == [resource]


@pytest.mark.parametrize(
    ("provider", "pasted", "label", "kind"),
    [
        ("amazon-bedrock", LONG_TERM_KEY, f"ABSK...{LONG_TERM_KEY[-4:]}", BedrockApiKeySecret),
        ("amazon-bedrock", AWS, "AKIA...MPLE", AwsSecret),
        ("google-vertex", service_account(), "openroute@my-project-123 ...ab12", VertexSecret),
    ],
)
async def test_keys_of_providers_that_nobody_calls_yet_are_kept_all_the_same(
    client: Client,
    infrastructure: Infrastructure,
    provider: str,
    pasted: str | dict[str, str],
    label: str,
    kind: type,
) -> None:
    text = pasted if isinstance(pasted, str) else json.dumps(pasted)

    credential = await client.add(provider, text)

    state = await client.state_at(credential, 1)
    assert (state.provider, state.label, state.deployments) == (provider, label, None)
    assert type(await opened(client, infrastructure, credential)) is kind


async def opened(
    client: Client, infrastructure: Infrastructure, credential: CredentialId
) -> CredentialSecret:
    state = client.state(credential)
    assert state is not None
    context = credential_context(client.account, credential)
    document = await opened_by_dispatcher(infrastructure, state.ciphertext, context)
    return decode_secret(document)


async def test_a_pasted_secret_is_found_nowhere(
    client: Client, infrastructure: Infrastructure, key_vault: KeyVaultProcess
) -> None:
    canary = f"canary{new_id().replace('-', '')}"
    deployment = AZURE[0] | {"api_key": canary}
    await client.add("openai", f"sk-{canary}")
    await client.add("azure", json.dumps(deployment))
    for wrong in (
        f"{canary} {canary}",
        f"{{{canary}",
    ):
        await client.ask(await client.to_add("openai", wrong), Refused)
    for provider in ("amazon-bedrock", "google-vertex"):
        for refused in (canary, f'{{"type": "{canary}"', json.dumps({"apiKey": canary})):
            await client.ask(await client.to_add(provider, refused), Refused)
    broken = service_account() | {"private_key": f"-----BEGIN PRIVATE KEY-----\n{canary}\n"}
    await client.ask(await client.to_add("google-vertex", json.dumps(broken)), Refused)
    await client.add("amazon-bedrock", f"ABSK{canary}{canary}")
    await client.add("azure", json.dumps({"resource_name": "r", "api_key": canary}))
    for refused in (
        json.dumps(deployment | {"endpoint_url": f"https://example.com/{canary}"}),
        json.dumps(deployment | {canary: "x"}),
        json.dumps({canary: deployment}),
        json.dumps([canary]),
        f'{{"api_key": {canary}}}',
    ):
        await client.ask(await client.to_add("azure", refused), Refused)
    stranger = await client.to_add("openai", canary)
    sealed_for_another = msgspec.structs.replace(stranger, command_id=new_id())
    await client.ask(sealed_for_another, Refused)

    stack = infrastructure.stack
    search = Search(stack, [canary], besides=())
    control = stack.places.logs / "planted.log"
    assert canary not in key_vault.metrics()
    # the files are Kafka's raw segments too: key_vault's records are not compressed
    found = [
        *await asyncio.to_thread(lambda: list(search.files())),
        *[place async for place in search.tables()],
    ]
    assert found == []
    await asyncio.to_thread(control.write_text, f"key={canary}\n")
    try:
        planted = await asyncio.to_thread(lambda: list(search.files()))
        assert planted == [f"file {control}"]
    finally:
        await asyncio.to_thread(control.unlink)


async def test_a_change_of_policy_keeps_the_secret_as_it_is(client: Client) -> None:
    credential = await client.add("openai", "sk-0123456789abcdefghij-AbCd")
    before = await client.state_at(credential, 1)

    kept = await client.change(credential, always_use=True, name=None, allowed_models=["a/b"])

    after = await client.state_at(credential, 2)
    assert kept.credential.always_use
    assert kept.credential.filters == Filters(models=["a/b"])
    assert (after.always_use, after.filters) == (True, Filters(models=["a/b"]))
    assert after.secret_revision == before.secret_revision
    assert after.ciphertext == before.ciphertext


async def test_a_new_key_takes_the_old_ones_place(
    client: Client, infrastructure: Infrastructure
) -> None:
    credential = await client.add("openai", "sk-old-0123456789abcdefghij-AbCd")
    before = await client.state_at(credential, 1)
    command_id = new_id()
    sealed = await client.seal("sk-new-0123456789abc-WxYz", credential, command_id)

    kept = await client.change(credential, sealed_key=sealed, command_id=command_id)

    after = await client.state_at(credential, 2)
    assert kept.credential.label == after.label == "sk-...WxYz"
    assert after.secret_revision == before.secret_revision + 1
    document = await opened_by_dispatcher(
        infrastructure, after.ciphertext, credential_context(client.account, credential)
    )
    assert decode_secret(document) == StringSecret(value="sk-new-0123456789abc-WxYz")


async def test_a_deleted_credential_is_wiped_from_row_and_topic(client: Client) -> None:
    credential = await client.add("openai", "sk-0123456789abcdefghij-AbCd", name="gone soon")
    await client.state_at(credential, 1)

    forgotten = await client.ask(client.to_delete(credential), CredentialForgotten)

    assert forgotten.credential_id == credential
    row = await client.row(credential)
    assert (row["ciphertext"], row["label"], row["name"]) == (None, "", None)
    await wait_until(lambda: client.state(credential) is None)
    missing = GetCredential(account_id=client.account, credential_id=credential)
    assert (await client.ask(missing, Refused)).code == "not_found"
    assert (await client.ask(client.to_delete(credential), Refused)).code == "not_found"


async def test_the_tombstone_of_a_deleted_credential_follows_later(client: Client) -> None:
    credential = await client.add("openai", "sk-0123456789abcdefghij-AbCd")
    await client.ask(client.to_delete(credential), CredentialForgotten)

    await client.database.execute(
        "update credentials set deleted_at = deleted_at - interval '61 seconds' "
        "where credential_id = $1",
        credential,
    )

    async def is_buried() -> bool:
        return await client.row(credential) is None

    await wait_until(is_buried, deadline_seconds=20)

    async def is_published() -> bool:
        left = await client.database.fetch(
            "select from outbox_dirty where key = $1", f"{client.account}/{credential}"
        )
        return not left

    await wait_until(is_published)


async def test_a_command_that_is_delivered_again_changes_nothing(client: Client) -> None:
    command = await client.to_add("openai", "sk-0123456789abcdefghij-AbCd")
    first = await client.ask(command, CredentialKept)
    await client.change(command.credential_id, enabled=False)

    second = await client.ask(command, CredentialKept)

    assert second == first
    state = await client.state_at(command.credential_id, 2)
    assert state.enabled is False
    listed = await client.ask(ListCredentials(account_id=client.account), CredentialsListed)
    assert listed.total == 1


async def test_a_refused_command_stays_refused_when_it_is_delivered_again(client: Client) -> None:
    command = await client.to_add("openai", "sk-0123456789abcdefghij-AbCd")
    too_early = client.to_delete(command.credential_id)
    refused = await client.ask(too_early, Refused)
    await client.ask(command, CredentialKept)

    assert await client.ask(too_early, Refused) == refused
    assert (await client.row(command.credential_id))["deleted_at"] is None


async def test_another_accounts_credential_is_not_there(client: Client) -> None:
    credential = await client.add("openai", "sk-0123456789abcdefghij-AbCd")
    owner, client.account = client.account, account_id()

    for command in (
        GetCredential(account_id=client.account, credential_id=credential),
        client.to_delete(credential),
    ):
        refused = await client.ask(command, Refused)
        assert refused == Refused(code="not_found", message="There is no such credential.")

    client.account = owner
    assert (await client.row(credential))["deleted_at"] is None


async def test_a_sealed_key_serves_no_other_credential(client: Client) -> None:
    command = await client.to_add("openai", "sk-0123456789abcdefghij-AbCd")
    elsewhere = msgspec.structs.replace(command, credential_id=CredentialId(new_id()))

    refused = await client.ask(elsewhere, Refused)

    assert (refused.code, refused.field) == ("invalid", "key")
    assert await client.row(elsewhere.credential_id) is None
    for odd in ("", "plain", "vault:v1:", "vault:v9:AAAA", "a\0b"):
        never_sealed = msgspec.structs.replace(elsewhere, command_id=new_id(), sealed_key=odd)
        assert (await client.ask(never_sealed, Refused)).field == "key"


async def test_credentials_are_listed_by_section_order_and_age(client: Client) -> None:
    key = "sk-0123456789abcdefghij-AbCd"
    last = await client.add("openai", key, section="fallback", name="last")
    second = await client.add("openai", key, name="second", order=5)
    third = await client.add("openai", key, name="third")
    first = await client.add("openai", key, name="first", order=0)
    await client.add("mistral", key, name="elsewhere")

    page = await client.ask(
        ListCredentials(account_id=client.account, provider="openai"), CredentialsListed
    )
    part = await client.ask(
        ListCredentials(account_id=client.account, provider="openai", offset=1, limit=2),
        CredentialsListed,
    )
    past = await client.ask(
        ListCredentials(account_id=client.account, offset=50), CredentialsListed
    )

    assert [each.credential_id for each in page.credentials] == [first, second, third, last]
    assert [each.credential_id for each in part.credentials] == [second, third]
    assert (page.total, part.total, past.total) == (4, 4, 5)
    assert past.credentials == []
    assert page.credentials[2].order == 6


async def test_bad_input_is_refused_with_its_place_and_nothing_is_kept(client: Client) -> None:
    bad = json.dumps([AZURE[0], AZURE[1] | {"endpoint_url": "http://10.0.0.1/chat/completions"}])
    for command, field in (
        (await client.to_add("azure", bad), "key[1].endpoint_url"),
        (await client.to_add("openai", ""), "key"),
        (await client.to_add("openai", "sk-1", name="a\0b"), "name"),
        (await client.to_add("OpenAI", "sk-1"), "provider"),
        (await client.to_add("google-vertex", "{}"), "key.type"),
        (await client.to_add("amazon-bedrock", "{}"), "key.accessKeyId"),
        (
            await client.to_add("azure", json.dumps(AZURE[0] | {"model_slug": "openai/gpt-9"})),
            "key.model_slug",
        ),
        (await client.to_add("openai", "sk-1", filters=Filters(models=[])), "filters.models"),
    ):
        refused = await client.ask(command, Refused)
        assert (refused.code, refused.field) == ("invalid", field)
        assert await client.row(command.credential_id) is None
    for odd_id in ("a/b", "\0", "", "x" * 65):
        odd = GetCredential(account_id=client.account, credential_id=CredentialId(odd_id))
        assert (await client.ask(odd, Refused)).code == "not_found"


async def test_every_heartbeat_counts_what_is_on_the_topic_while_credentials_come_and_go(
    client: Client,
) -> None:
    seen_before = len(client.counts)

    async def live(account: AccountId) -> None:
        mine = replace(client, account=account)
        while len(client.counts) < seen_before + 4:
            await mine.add("openai", "sk-0123456789abcdefghij-AbCd")
            gone = await mine.add("openai", "sk-0123456789abcdefghij-AbCd")
            await mine.ask(mine.to_delete(gone), CredentialForgotten)

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(live(account_id()))

    assert [counted for counted, _ in client.counts] == [held for _, held in client.counts]
    assert client.counts[-1][0] > client.counts[seen_before][0]
    assert client.view.problem() is None


async def test_the_log_has_one_line_a_command_without_the_key(
    client: Client, key_vault: KeyVaultProcess
) -> None:
    credential = await client.add("openai", "sk-logged-0123456789abcdefghij-AbCd")

    text = await asyncio.to_thread(key_vault.log.read_text)
    lines = [json.loads(line) for line in text.splitlines() if credential in line]
    assert [(line["event"], line["command"], line["outcome"]) for line in lines] == [
        ("command", "AddCredential", "ok")
    ]
    assert lines[0]["account_id"] == client.account
    assert 'type="AddCredential"' in key_vault.metrics()
