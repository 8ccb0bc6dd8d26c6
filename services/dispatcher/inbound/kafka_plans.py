"""Questions about plans from `routing.plans`."""

from collections.abc import Sequence
from typing import Final

from services.dispatcher.use_cases.describe_plan import DescribePlan
from shared.errors import Unavailable
from shared.events.envelope import CallReply, Refused
from shared.events.plans import ExplainPlan
from shared.kafka.calls import ReceivedCall
from shared.telemetry.logging import get_logger

UNAVAILABLE: Final = "unavailable"
"""The code of a refusal that may be otherwise in a moment."""
BROKEN: Final = "internal"
"""The code of a refusal by a bug of ours."""


class Plans:
    """What `CallServer` calls for each batch. Answers are made from memory, so all at once."""

    def __init__(self, describe_plan: DescribePlan) -> None:
        """Answer with what this dispatcher would do."""
        self._describe_plan = describe_plan
        self._logger = get_logger("plans")

    async def __call__(self, calls: Sequence[ReceivedCall]) -> Sequence[CallReply]:
        """The answers in the order of the calls."""
        return [self._answer(call) for call in calls]

    def _answer(self, call: ReceivedCall) -> CallReply:
        asked = call.command
        if not isinstance(asked, ExplainPlan):
            message = f"{type(asked).__name__} is no question about a plan."
            return Refused(code="invalid", message=message)
        logger = self._logger.bind(call_id=call.call_id, account_id=asked.account_id)
        try:
            explained = self._describe_plan.describe(asked)
        except Unavailable as error:
            logger.warning("plan", outcome="failed", reason=str(error))
            return Refused(code=UNAVAILABLE, message=str(error))
        except Exception:
            # a bug in what explains must not end what completes
            logger.error("plan", outcome="failed", exc_info=True)  # noqa: G201 - structlog's words
            return Refused(code=BROKEN, message="internal error")
        logger.info(
            "plan",
            outcome="ok",
            attempts=len(explained.attempts),
            left_out=len(explained.left_out),
        )
        return explained
