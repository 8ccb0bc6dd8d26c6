"""Errors of Google's APIs (google.rpc.Status as JSON), with the texts that Vertex AI answers."""

from collections.abc import Mapping
from typing import Any, Final

from tests.simulator.errors import ErrorAnswer
from tests.simulator.scripts import Status

PERMISSION: Final = "aiplatform.endpoints.predict"
UNAUTHENTICATED: Final = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
    "other valid authentication credential."
)
_STATUSES: Final[Mapping[int, tuple[str, str, str | None]]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument.", None),
    401: ("UNAUTHENTICATED", UNAUTHENTICATED, "ACCESS_TOKEN_EXPIRED"),
    403: (
        "PERMISSION_DENIED",
        (
            f"Permission '{PERMISSION}' denied on resource '//aiplatform.googleapis.com/{{model}}' (or "
            "it may not exist)."
        ),
        "IAM_PERMISSION_DENIED",
    ),
    404: (
        "NOT_FOUND",
        (
            "Publisher Model `{model}` was not found or your project does not have access to it. Please "
            "ensure you are using a valid model version."
        ),
        None,
    ),
    429: ("RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later.", None),
    500: ("INTERNAL", "Internal error encountered.", None),
    503: ("UNAVAILABLE", "The service is currently unavailable.", None),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete.", None),
}
_CODES: Final[Mapping[str, tuple[int, str, str, str | None]]] = {
    "insufficient_quota": (
        403,
        "PERMISSION_DENIED",
        "This API method requires billing to be enabled. Please enable billing on project.",
        "BILLING_DISABLED",
    ),
    "context_length_exceeded": (
        400,
        "INVALID_ARGUMENT",
        ("The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."),
        None,
    ),
    "failed_precondition": (
        400,
        "FAILED_PRECONDITION",
        "Publisher Model `{model}` is not servable in this region.",
        None,
    ),
}


def google_error(
    status: int,
    word: str,
    message: str,
    *,
    reason: str | None = None,
    headers: Mapping[str, str] | None = None,
    in_list: bool = False,
) -> ErrorAnswer:
    """An error of this status; `in_list` wraps it as streams and the OpenAI endpoint do."""
    error: dict[str, Any] = {"code": status, "message": message, "status": word}
    if reason is not None:
        info = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": info, "reason": reason, "domain": "googleapis.com"}]
    return ErrorAnswer(status=status, body={"error": error}, headers=headers or {}, in_list=in_list)


def scripted_google(step: Status, *, model: str, in_list: bool) -> ErrorAnswer:
    """What Vertex AI answers with the step's status; some codes have a status of their own."""
    headers = {} if step.retry_after is None else {"Retry-After": step.retry_after}
    if step.code is not None and step.code in _CODES:
        status, word, message, reason = _CODES[step.code]
    else:
        word, message, reason = _STATUSES.get(step.status, _STATUSES[500])
        status = step.status
    return google_error(
        status, word, message.format(model=model), reason=reason, headers=headers, in_list=in_list
    )
