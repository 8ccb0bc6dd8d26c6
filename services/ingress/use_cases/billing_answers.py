"""What billing's refusals mean to a client."""

from typing import Final

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal
from shared.errors import Unavailable
from shared.events.envelope import CallReply, Refused

BILLING: Final = "billing"
_OF_THE_CLIENT: Final = frozenset({"invalid", "too_many"})


def refusal_of(reply: CallReply) -> Refusal:
    """The refusal behind an answer that is not the one hoped for; Unavailable for any other."""
    if not isinstance(reply, Refused):
        raise Unavailable(BILLING, f"unexpected answer {type(reply).__name__}")
    if reply.code in _OF_THE_CLIENT:
        return refusals.invalid(reply.message, field=reply.field)
    raise Unavailable(BILLING, reply.message)
