"""Commands from `credentials.commands`: many accounts at a time, each account's in their order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from services.key_vault.domain.refusals import invalid
from services.key_vault.ports import Ports
from services.key_vault.use_cases.add_credential import add_credential
from services.key_vault.use_cases.change_credential import change_credential
from services.key_vault.use_cases.check_credential import check_credential
from services.key_vault.use_cases.delete_credential import delete_credential
from services.key_vault.use_cases.read_credentials import get_credential, list_credentials
from services.key_vault.use_cases.reorder_credentials import reorder_credentials
from services.key_vault.use_cases.tell_health import tell_health
from shared.errors import Unavailable
from shared.events.credential_health import CheckCredential
from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    DeleteCredential,
    GetCredential,
    ListCredentials,
    ReorderCredentials,
)
from shared.events.envelope import CallReply, Event, Refused
from shared.ids import AccountId
from shared.kafka.calls import ReceivedCall
from shared.telemetry.counting import Counter
from shared.telemetry.logging import get_logger
from shared.telemetry.metrics import Metrics

ACCOUNTS_AT_ONCE: Final = 6
"""Fewer than the pool has connections: publishing and heartbeats need theirs."""

_USE_CASES: Final[dict[type[Event], Callable[[Ports, Any], Awaitable[CallReply]]]] = {
    AddCredential: add_credential,
    ChangeCredential: change_credential,
    DeleteCredential: delete_credential,
    ReorderCredentials: reorder_credentials,
    GetCredential: get_credential,
    ListCredentials: list_credentials,
    CheckCredential: check_credential,
}


class CommandsHandler:
    """Answers batches of calls, and writes one log line for each command."""

    def __init__(self, ports: Ports, metrics: Metrics) -> None:
        """No command has been seen yet."""
        self._ports = ports
        self._logger = get_logger("commands")
        self._counted: Counter = metrics.counter(
            "credential_commands", "Commands by their type and outcome", ("type", "outcome")
        )
        # of a batch that is to be delivered again: what was answered, and what was logged as waiting
        self._answered: dict[str, CallReply] = {}
        self._waiting: set[str] = set()

    async def __call__(self, calls: Sequence[ReceivedCall]) -> Sequence[CallReply]:
        """The answers in the order of the calls.

        Raises Unavailable when one of them must be tried again: then all come again, and those that
        were answered are answered as before.
        """
        by_account: dict[str, list[ReceivedCall]] = {}
        for call in calls:
            by_account.setdefault(_account_of(call.command), []).append(call)
        answered: dict[str, CallReply] = {}
        failures: dict[str, Unavailable] = {}
        slots = asyncio.Semaphore(ACCOUNTS_AT_ONCE)

        async def serve_account(account_calls: list[ReceivedCall]) -> None:
            async with slots:
                for call in account_calls:
                    try:
                        answered[call.call_id] = await self._answer(call)
                    except Unavailable as error:
                        failures[call.call_id] = error
                        return  # what follows must not overtake it

        async with asyncio.TaskGroup() as group:
            for account_calls in by_account.values():
                _ = group.create_task(serve_account(account_calls))
        self._waiting = set(failures)
        self._answered = answered if failures else {}
        for error in failures.values():
            raise error
        return [answered[call.call_id] for call in calls]

    async def _answer(self, call: ReceivedCall) -> CallReply:
        if call.call_id in self._answered:
            return self._answered[call.call_id]
        command = call.command
        name = type(command).__name__
        use_case = _USE_CASES.get(type(command))
        if use_case is None:
            return invalid("type", f"{name} is no command for credentials.")
        clock = self._ports.clock
        started = clock.monotonic()
        fields: dict[str, Any] = {
            "command": name,
            "call_id": call.call_id,
            "account_id": _account_of(command),
            "credential_id": getattr(command, "credential_id", None),
        }
        try:
            answer = await tell_health(
                self._ports,
                AccountId(_account_of(command)),
                await use_case(self._ports, command),
            )
        except Unavailable as error:
            self._counted.labels(name, "unavailable").inc()
            if call.call_id not in self._waiting:  # it is tried several times a second
                self._logger.warning("command waits", **fields, reason=str(error))
            raise
        if isinstance(answer, Refused):
            fields |= {"outcome": "refused", "code": answer.code, "field": answer.field}
        else:
            fields["outcome"] = "ok"
        self._counted.labels(name, fields["outcome"]).inc()
        duration_ms = round((clock.monotonic() - started) * 1000, 3)
        self._logger.info("command", **fields, duration_ms=duration_ms)
        return answer


def _account_of(command: Event) -> str:
    return getattr(command, "account_id", "")
