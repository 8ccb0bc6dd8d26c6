"""Asking billing over Kafka."""

from typing import Final

from shared.errors import Unavailable
from shared.events.billing import AuthorizeSpend, SpendAuthorized, SpendRefused
from shared.events.envelope import Refused
from shared.events.topics import BILLING_COMMANDS
from shared.kafka.calls import Calls

ANSWER_SECONDS_MAX: Final = 2.0
_CALLEE: Final = "billing"


class KafkaSpending:
    """Calls billing, two seconds at most: a client waits."""

    def __init__(self, calls: Calls) -> None:
        """Ask with `calls`."""
        self._calls = calls

    async def authorize(self, command: AuthorizeSpend) -> SpendAuthorized | SpendRefused:
        """Billing's answer; Unavailable("billing"), which never means yes."""
        answer = await self._calls.call(
            BILLING_COMMANDS,
            command,
            key=command.account_id,
            callee=_CALLEE,
            deadline_seconds=ANSWER_SECONDS_MAX,
        )
        match answer:
            case SpendAuthorized() | SpendRefused():
                return answer
            case Refused():
                raise Unavailable(_CALLEE, f"did not understand: {answer.code}")
            case _:
                raise Unavailable(_CALLEE, f"answered with {type(answer).__name__}")
