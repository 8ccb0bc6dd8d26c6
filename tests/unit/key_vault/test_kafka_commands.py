"""Batches of calls: answers in their order, each account's commands one after the other."""

import asyncio
from datetime import UTC, datetime

import pytest

from services.key_vault.inbound.kafka_commands import CommandsHandler
from shared.errors import Unavailable
from shared.events.billing import QuerySpending
from shared.events.credentials import (
    AddCredential,
    CredentialKept,
    GetCredential,
    intake_context,
)
from shared.events.envelope import Event, Refused
from shared.events.topics import INGRESS_REPLIES
from shared.ids import AccountId, ApiKeyHash, CredentialId
from shared.kafka.calls import ReceivedCall
from shared.telemetry.metrics import Metrics
from tests.unit.key_vault.fakes import World


def call(number: int, command: Event) -> ReceivedCall:
    return ReceivedCall(
        command=command,
        call_id=f"call-{number}",
        source="ingress-0-x",
        expires_at=datetime(2026, 1, 1, tzinfo=UTC),
        reply_topic=INGRESS_REPLIES,
        reply_partition=0,
    )


def to_add(account: str, credential: str) -> AddCredential:
    account_id, credential_id = AccountId(account), CredentialId(credential)
    context = intake_context(account_id, credential_id, credential).decode()
    return AddCredential(
        command_id=credential,
        account_id=account_id,
        credential_id=credential_id,
        provider="openai",
        sealed_key=f"{context}|sk-1",
    )


def to_get(account: str, credential: str) -> GetCredential:
    return GetCredential(account_id=AccountId(account), credential_id=CredentialId(credential))


async def test_answers_come_in_the_order_of_the_calls() -> None:
    handler = CommandsHandler(World().ports, Metrics())
    calls = [
        call(0, to_get("a", "a1")),
        call(1, to_add("a", "a1")),
        call(2, to_add("b", "b1")),
        call(3, to_get("a", "a1")),
        call(4, to_get("b", "b1")),
        call(5, to_get("b", "a1")),
    ]

    answers = await handler(calls)

    assert [type(each) for each in answers] == [
        Refused,
        CredentialKept,
        CredentialKept,
        CredentialKept,
        CredentialKept,
        Refused,
    ]


async def test_a_call_that_must_wait_holds_back_those_of_its_account_and_is_tried_again() -> None:
    world, metrics = World(), Metrics()
    handler = CommandsHandler(world.ports, metrics)
    calls = [call(0, to_get("b", "b1")), call(1, to_add("a", "a1")), call(2, to_get("a", "a1"))]
    world.encryption.is_available = False
    for _ in range(3):
        with pytest.raises(Unavailable):
            await handler(calls)
    world.encryption.is_available = True

    answers = await handler(calls)

    assert [type(each) for each in answers] == [Refused, CredentialKept, CredentialKept]
    exposed = (await asyncio.to_thread(metrics.render)).decode()
    assert 'commands_total{outcome="refused",type="GetCredential"} 1.0' in exposed
    assert 'commands_total{outcome="unavailable",type="AddCredential"} 3.0' in exposed
    assert 'commands_total{outcome="ok",type="GetCredential"} 1.0' in exposed


async def test_a_command_of_another_kind_is_refused() -> None:
    handler = CommandsHandler(World().ports, Metrics())

    elsewhere = QuerySpending(account_id=AccountId("a"), api_key_hash=ApiKeyHash("0" * 64))

    answers = await handler([call(0, elsewhere)])

    assert isinstance(answers[0], Refused)
