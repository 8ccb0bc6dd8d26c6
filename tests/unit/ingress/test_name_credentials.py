"""Names are shown where they can be had; a receipt does not fail for want of them."""

import asyncio
from datetime import UTC, datetime

from services.ingress.use_cases.name_credentials import NAMED_MAX, NameCredentials
from shared.errors import Unavailable
from shared.events.credentials import (
    CredentialDescription,
    CredentialKept,
    Filters,
    GetCredential,
)
from shared.events.envelope import CallReply, Event, Refused
from shared.ids import AccountId, CredentialId

ACCOUNT = AccountId("a")
KNOWN, DELETED, SILENT, HANGING = map(CredentialId, ("known", "deleted", "silent", "hanging"))


class KeyVault:
    """Knows one credential, has forgotten one, and does not answer for the others."""

    def __init__(self) -> None:
        self.asked: list[CredentialId] = []

    async def ask(self, command: Event, *, account_id: AccountId) -> CallReply:
        assert isinstance(command, GetCredential)
        assert command.account_id == account_id == ACCOUNT
        self.asked.append(command.credential_id)
        if command.credential_id == SILENT:
            raise Unavailable("key-vault")
        if command.credential_id == HANGING:
            await asyncio.Event().wait()
        if command.credential_id != KNOWN:
            return Refused(code="not_found", message="there is no such credential")
        return CredentialKept(
            credential=CredentialDescription(
                credential_id=KNOWN,
                provider="openai",
                label="sk-...abcd",
                name="mine",
                enabled=True,
                section="prioritized",
                always_use=False,
                order=0,
                filters=Filters(),
                created_at=datetime(2026, 3, 1, tzinfo=UTC),
            )
        )


async def test_what_is_known_is_named_and_the_rest_is_left_out() -> None:
    vault = KeyVault()
    names = NameCredentials(vault, wait_seconds_max=0.05)

    found = await names.of(ACCOUNT, [KNOWN, DELETED, SILENT, HANGING, KNOWN])

    assert {each: described.name for each, described in found.items()} == {KNOWN: "mine"}
    assert vault.asked == [KNOWN, DELETED, SILENT, HANGING]


async def test_no_answer_asks_for_more_names_than_its_limit() -> None:
    vault = KeyVault()

    await NameCredentials(vault).of(ACCOUNT, [CredentialId(str(n)) for n in range(NAMED_MAX + 5)])

    assert len(vault.asked) == NAMED_MAX
