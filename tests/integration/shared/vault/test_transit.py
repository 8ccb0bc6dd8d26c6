import asyncio
from typing import Any

import pytest

from shared.clock import SystemClock
from shared.vault.errors import VaultForbidden, VaultRefused
from shared.vault.session import open_vault
from shared.vault.transit import Transit
from tests.integration.shared.vault.conftest import MakeRole

pytestmark = pytest.mark.connected

PLAINTEXT = b"sk-canary-\x00\xff"
CONTEXT = b"account-1/credential-1"


async def test_each_service_can_do_its_part_and_together_they_come_round(
    make_role: MakeRole,
) -> None:
    ingress, key_vault, dispatcher = [
        await asyncio.to_thread(make_role, role) for role in ("ingress", "key-vault", "dispatcher")
    ]
    clock = SystemClock()
    async with (
        open_vault(ingress, clock) as at_ingress,
        open_vault(key_vault, clock) as at_key_vault,
        open_vault(dispatcher, clock) as at_dispatcher,
    ):
        pasted = await Transit(at_ingress).encrypt("intake", PLAINTEXT, context=b"command-1")
        opened = await Transit(at_key_vault).decrypt("intake", pasted, context=b"command-1")
        kept = await Transit(at_key_vault).encrypt("credentials", opened, context=CONTEXT)

        assert pasted.startswith("vault:v1:")
        assert await Transit(at_dispatcher).decrypt("credentials", kept, context=CONTEXT) == (
            PLAINTEXT
        )

        data_key = await Transit(at_ingress).data_key("wire")
        unwrapped = await Transit(at_dispatcher).decrypt("wire", data_key.wrapped, context=None)

        assert len(data_key.plaintext) == 32
        assert unwrapped == data_key.plaintext
        assert repr(data_key.plaintext) not in repr(data_key)


async def test_a_ciphertext_opens_in_its_own_context_only(make_role: MakeRole) -> None:
    config = await asyncio.to_thread(make_role, "key-vault", "dispatcher")
    async with open_vault(config, SystemClock()) as session:
        transit = Transit(session)
        kept = await transit.encrypt("credentials", PLAINTEXT, context=CONTEXT)

        for ciphertext, context in (
            (kept, b"account-2/credential-1"),
            (kept[:-4] + "AAA=", CONTEXT),
            ("vault:v1:nonsense", CONTEXT),
            ("plain", CONTEXT),
        ):
            with pytest.raises(VaultRefused) as raised:
                await transit.decrypt("credentials", ciphertext, context=context)
            assert raised.value.path == "transit/decrypt/credentials"
            assert ciphertext not in str(raised.value)
            assert raised.value.__cause__ is None
        assert session.healthy() is None


async def test_what_a_role_may_not_do_is_refused(make_role: MakeRole) -> None:
    config = await asyncio.to_thread(make_role, "ingress")
    async with open_vault(config, SystemClock()) as session:
        transit = Transit(session)
        sealed = await transit.encrypt("intake", PLAINTEXT, context=CONTEXT)

        with pytest.raises(VaultForbidden):
            await transit.decrypt("intake", sealed, context=CONTEXT)
        with pytest.raises(VaultForbidden):
            await transit.encrypt("credentials", PLAINTEXT, context=CONTEXT)
        with pytest.raises(VaultRefused):
            await transit.encrypt("intake", PLAINTEXT, context=None)  # a derived key needs one

        assert await transit.encrypt("intake", PLAINTEXT, context=CONTEXT) != sealed
        assert session.healthy() is None


async def test_rewrapping_moves_many_to_the_newest_version_in_their_order(
    make_role: MakeRole, administrator: Any
) -> None:
    config = await asyncio.to_thread(make_role, "key-vault", "dispatcher")
    async with open_vault(config, SystemClock()) as session:
        transit = Transit(session)
        old = await transit.encrypt("credentials", PLAINTEXT, context=CONTEXT)
        version = int(old.split(":")[1][1:])
        other = await transit.encrypt("credentials", b"other", context=b"other")
        await asyncio.to_thread(administrator.secrets.transit.rotate_key, "credentials")

        items = [(old, CONTEXT), (other, b"other")] * 150
        rewrapped = await transit.rewrap("credentials", items)

        assert len(rewrapped) == 300
        new = [each for each in rewrapped if each is not None]
        assert {each.split(":")[1] for each in new} == {f"v{version + 1}"}
        assert await transit.decrypt("credentials", new[298], context=CONTEXT) == PLAINTEXT
        assert await transit.decrypt("credentials", new[299], context=b"other") == b"other"
        assert await transit.rewrap("credentials", []) == []


async def test_what_does_not_fit_holds_up_nothing_else_of_its_batch(make_role: MakeRole) -> None:
    config = await asyncio.to_thread(make_role, "key-vault", "dispatcher")
    async with open_vault(config, SystemClock()) as session:
        transit = Transit(session)
        kept = await transit.encrypt("credentials", PLAINTEXT, context=CONTEXT)

        rewrapped = await transit.rewrap(
            "credentials",
            [
                (kept, b"another's"),
                (kept, CONTEXT),
                ("vault:v999:AAAA", CONTEXT),
                ("vault:vnonsense", CONTEXT),
            ],
        )

        assert [each is None for each in rewrapped] == [True, False, True, True]
        assert rewrapped[1] is not None
        assert await transit.decrypt("credentials", rewrapped[1], context=CONTEXT) == PLAINTEXT
