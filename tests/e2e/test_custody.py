"""What happens to a provider key in the whole product: moved, rotated, and given up in time."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import hvac
import pytest

from deploy.local.places import REPOSITORY
from deploy.product import Account, Answer, Product
from deploy.tap import tap
from deploy.vault.keys import read_versions, rotate
from shared.events.credentials import CredentialChanged
from shared.events.generations import GenerationFinished
from shared.events.topics import CREDENTIALS_STATE, INFERENCE_GENERATIONS
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.slow, pytest.mark.timeout(120)]

EFFECT_SECONDS_MAX: Final = 1.0
"""From the HTTP answer of a command to the first request that it governs."""


@asynccontextmanager
async def rows(product: Product) -> AsyncIterator[asyncpg.Connection]:
    """key_vault's rows, as somebody who has its database in hand."""
    connection = await asyncpg.connect(product.stack.manifest["postgres"]["key_vault"])
    try:
        yield connection
    finally:
        await connection.close()


async def publish(database: asyncpg.Connection, account: Account, credential_id: str) -> None:
    """Have a row that was tampered with told to dispatchers by key_vault itself."""
    await database.execute(
        "insert into outbox_dirty (topic, key, due_at) values ($1, $2, clock_timestamp())",
        CREDENTIALS_STATE.name,
        f"{account.account_id}/{credential_id}",
    )


async def outcomes(product: Product, account: Account) -> tuple[Answer, list[str | None]]:
    """An answer, and how each attempt for it ended."""
    async with tap(product.kafka, [INFERENCE_GENERATIONS]) as events:
        answer = await product.complete(account)
        fact = (
            await events.wait_for(
                lambda received: (
                    isinstance(received.event, GenerationFinished)
                    and received.event.account_id == account.account_id
                )
            )
        ).event
    assert isinstance(fact, GenerationFinished)
    return answer, [attempt.failure for attempt in fact.attempts]


async def test_a_ciphertext_moved_to_another_row_is_misconfigured_and_serves_nobody(
    product: Product,
) -> None:
    owner, thief = [await product.make_account(name=name) for name in ("owner", "thief")]
    secret, own = f"sk-owner-{owner.account_id}", f"sk-thief-{thief.account_id}"
    owners = (await product.add_credential(owner, key=secret))["id"]
    thiefs = (await product.add_credential(thief, key=own, always_use=True))["id"]
    assert (await product.complete(owner)).status == 200
    calls_before = len(await product.provider_calls(secret))
    async with rows(product) as database, tap(product.kafka, [CREDENTIALS_STATE]) as states:
        # the thief's own key is open since its check; only of a new revision is the ciphertext looked at
        await database.execute(
            "update credentials set version = version + 1, secret_revision = secret_revision + 1, "
            "ciphertext = (select ciphertext from credentials where credential_id = $1) "
            "where credential_id = $2",
            owners,
            thiefs,
        )
        await publish(database, thief, thiefs)
        await states.wait_for(
            lambda received: (
                isinstance(received.event, CredentialChanged)
                and (received.event.credential_id, received.event.version) == (thiefs, 2)
            )
        )

        answer, failures = await outcomes(product, thief)

        assert answer.status >= 400
        assert failures == ["misconfigured"]

        # the whole row under the thief's account, while its owner's is open in the dispatcher
        await database.execute(
            "insert into credentials select $1, credential_id, provider, label, name, enabled, "
            'section, always_use, "order", filters, deployments, ciphertext, secret_revision, '
            "version, announced, created_at, changed_at, deleted_at "
            "from credentials where credential_id = $2",
            thief.account_id,
            owners,
        )
        await publish(database, thief, owners)
        await states.wait_for(
            lambda received: (
                isinstance(received.event, CredentialChanged)
                and (received.event.credential_id, received.event.account_id)
                == (owners, thief.account_id)
            )
        )
        await product.request("DELETE", f"/byok/{thiefs}", key=thief.management_key)

        answer, failures = await outcomes(product, thief)

        assert answer.status >= 400
        assert failures[0] == "misconfigured"
    assert len(await product.provider_calls(secret)) == calls_before
    assert await product.provider_calls(own) == []
    assert (await product.complete(owner)).status == 200
    assert len(await product.provider_calls(secret)) == calls_before + 1
    await product.request("DELETE", f"/byok/{owners}", key=thief.management_key)


async def vault_rotate(product: Product) -> str:
    """`make vault-rotate` for this stack; what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.local",
        "--root",
        str(product.stack.places.root),
        "vault-rotate",
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_keys_of_before_a_rotation_serve_after_it_and_after_the_rewrap(
    product: Product,
) -> None:
    made = [await product.make_account(name=name) for name in ("used", "rotated", "rewrapped")]
    used, rotated, rewrapped = made
    for account in made:
        await product.add_credential(account, key=f"sk-{account.account_id}", always_use=True)
    assert (await product.complete(used)).usage["is_byok"] is True
    operator = await asyncio.to_thread(operator_of, product)
    newest = await asyncio.to_thread(rotate, operator, "credentials")

    # opened for the first time: of the version before
    assert (await product.complete(rotated)).usage["is_byok"] is True

    output = await vault_rotate(product)
    assert f"finished the rotation to version {newest}" in output
    output = await vault_rotate(product)

    assert f"credentials: version {newest + 1} is the newest" in output
    versions = await asyncio.to_thread(read_versions, operator, "credentials")
    async with rows(product) as database:
        old = await database.fetchval(
            "select count(*) from credentials where ciphertext not like $1",
            f"vault:v{versions.newest}:%",
        )
    assert old == 0
    # opened for the first time: rewrapped twice; then what was open, and what was opened in between
    for account in (rewrapped, used, rotated):
        answer = await product.complete(account)
        assert (answer.status, answer.usage["is_byok"]) == (200, True)
        assert await product.provider_calls(f"sk-{account.account_id}")


def operator_of(product: Product) -> hvac.Client:
    token = product.stack.vault_token("rotation")
    return hvac.Client(url=product.stack.manifest["vault"], token=token, timeout=5)


async def soon(condition: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    await wait_until(condition, deadline_seconds=EFFECT_SECONDS_MAX, otherwise=otherwise)


async def test_adding_changing_and_deleting_take_effect_within_a_second(product: Product) -> None:
    account = await product.make_account(name="in time")
    first, second = f"sk-first-{account.account_id}", f"sk-second-{account.account_id}"

    async def calls(secret: str) -> int:
        return len(await product.provider_calls(secret))

    async def is_served_with(secret: str) -> bool:
        before = await calls(secret)
        return (await product.complete(account)).status == 200 and await calls(secret) > before

    assert (await product.complete(account)).status != 200  # no key, no credits

    credential = (await product.add_credential(account, key=first, always_use=True))["id"]
    await soon(lambda: is_served_with(first), "the added key does not serve")

    async def patch(**fields: Any) -> None:
        answer = await product.request(
            "PATCH", f"/byok/{credential}", key=account.management_key, body=fields
        )
        assert answer.status == 200, answer.text

    await patch(key=second)
    await soon(lambda: is_served_with(second), "the new key does not serve")
    old_calls = await calls(first)

    async def is_not_served() -> bool:
        return (await product.complete(account)).status != 200

    await patch(disabled=True)
    await soon(is_not_served, "a disabled key still serves")
    await patch(disabled=False)
    await soon(lambda: is_served_with(second), "an enabled key does not serve")

    answer = await product.request("DELETE", f"/byok/{credential}", key=account.management_key)
    assert answer.status == 200
    await soon(is_not_served, "a deleted key still serves")

    calls_after = await calls(second)
    for _ in range(5):
        assert await is_not_served()
    assert (await calls(first), await calls(second)) == (old_calls, calls_after)
