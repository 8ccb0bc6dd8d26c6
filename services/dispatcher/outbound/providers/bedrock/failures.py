"""What an exception of a call to Bedrock means.

Types and texts: docs.aws.amazon.com/bedrock/latest/APIReference, common errors and those of Converse,
docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html, and public reports
(autumn 2026). Many say ValidationException or AccessDeniedException, so the words count too.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec
from botocore.eventstream import ParserError
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from services.dispatcher.domain.failure import (
    RAW_MESSAGE_BYTES_MAX,
    FailureClass,
    ProviderFailure,
)
from services.dispatcher.outbound.providers.completions_client import BROKEN, broken
from services.dispatcher.outbound.providers.failures import FailureReader

INVOKE: Final = "bedrock:InvokeModel"
INVOKE_STREAM: Final = "bedrock:InvokeModelWithResponseStream"

UNREADABLE: Final = (
    ResponseParserError,
    ParserError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    RecursionError,
)
"""What botocore raises over bytes that are no answer of AWS's: its parsers trust their shape."""

_STATUS_OK: Final = 200
_WORDS_CHARACTERS_MAX: Final = 4096
_NOT_CONVERSE: Final = ProviderFailure(
    failure=FailureClass.PROVIDER_ERROR, status=_STATUS_OK, code="not_converse"
)
_BY_TYPE: Final[Mapping[str, FailureClass]] = {
    "throttlingexception": FailureClass.RATE_LIMITED,
    "throttling": FailureClass.RATE_LIMITED,
    "toomanyrequestsexception": FailureClass.RATE_LIMITED,
    "requestlimitexceeded": FailureClass.RATE_LIMITED,
    "servicequotaexceededexception": FailureClass.QUOTA_EXHAUSTED,
    "accessdeniedexception": FailureClass.PERMISSION_DENIED,
    "accessdenied": FailureClass.PERMISSION_DENIED,
    "notauthorized": FailureClass.PERMISSION_DENIED,
    "optinrequired": FailureClass.PERMISSION_DENIED,
    "unrecognizedclientexception": FailureClass.KEY_REFUSED,
    "invalidclienttokenid": FailureClass.KEY_REFUSED,
    "invalidaccesskeyid": FailureClass.KEY_REFUSED,
    "expiredtoken": FailureClass.KEY_REFUSED,
    "expiredtokenexception": FailureClass.KEY_REFUSED,
    "invalidsignatureexception": FailureClass.KEY_REFUSED,
    "signaturedoesnotmatch": FailureClass.KEY_REFUSED,
    "incompletesignature": FailureClass.KEY_REFUSED,
    "incompletesignatureexception": FailureClass.KEY_REFUSED,
    "missingauthenticationtoken": FailureClass.KEY_REFUSED,
    "missingauthenticationtokenexception": FailureClass.KEY_REFUSED,
    "modelnotreadyexception": FailureClass.PROVIDER_ERROR,
    "modelerrorexception": FailureClass.PROVIDER_ERROR,
    "modelstreamerrorexception": FailureClass.PROVIDER_ERROR,
    "internalserverexception": FailureClass.PROVIDER_ERROR,
    "internalfailure": FailureClass.PROVIDER_ERROR,
    "serviceunavailableexception": FailureClass.PROVIDER_ERROR,
    "serviceunavailable": FailureClass.PROVIDER_ERROR,
    "modeltimeoutexception": FailureClass.TIMED_OUT,
    "requesttimeout": FailureClass.TIMED_OUT,
    "resourcenotfoundexception": FailureClass.MISCONFIGURED,
    "validationexception": FailureClass.INVALID_REQUEST,
    "validationerror": FailureClass.INVALID_REQUEST,
}
"""By the type of the exception, in lower case."""


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_KEY_WORDS: Final = _words(
    r"authentication failed|api key (?:is )?(?:not )?valid|invalid api key|"
    r"(?:bearer|security) token.{0,40}(?:expired|invalid)"
)
_CLOCK_WORDS: Final = _words(r"signature (?:expired|not yet current)")
_BY_WORDS: Final = (
    (
        FailureClass.CONTEXT_TOO_LONG,
        _words(
            r"input is too long|prompt is too long|too many (?:input )?tokens|maximum context|"
            r"exceeds? (?:the )?(?:model'?s )?(?:maximum )?context|context (?:limit|length|window)|"
            r"maximum (?:number of )?(?:input )?tokens"
        ),
    ),
    (
        FailureClass.CONTENT_REFUSED,
        _words(r"content filter|blocked by (?:the )?(?:content|safety)|responsible ai policy"),
    ),
    (FailureClass.PERMISSION_DENIED, _words(r"operation not allowed|don't have access to the")),
    (
        FailureClass.MISCONFIGURED,
        _words(
            r"on-demand throughput|model identifier is invalid|model id.{0,40}invalid|"
            r"end of its life|(?:model|action|operation).{0,80}(?:isn't|not|doesn't|unsupported) ?support"
            r"|unsupported model"
        ),
    ),
)
"""Of a ValidationException, in the order in which they are looked for."""


def read_failure(
    error: Exception, failures: FailureReader, *, action: str, now: datetime
) -> ProviderFailure:
    """The failure that an exception of `UNREADABLE`, `BROKEN` or botocore's ClientError stands for.

    `action` is the IAM action that the call needs, named where Bedrock's refusal does not.
    """
    match error:
        case ClientError():
            return _of_answer(error, failures, action, now)
        case _ if isinstance(error, BROKEN):
            return broken(error)
        case _:
            return _NOT_CONVERSE


def _of_answer(
    error: ClientError, failures: FailureReader, action: str, now: datetime
) -> ProviderFailure:
    answer: Any = error.response
    told = answer.get("Error", {})
    kind, message = _text(told.get("Code")), _text(told.get("Message"))
    metadata = answer.get("ResponseMetadata", {})
    # an exception in a stream has no status of its own: the stream's was 200
    status = metadata.get("HTTPStatusCode", _STATUS_OK)
    if "HTTPHeaders" not in metadata or ":message-type" in metadata["HTTPHeaders"]:
        status = _STATUS_OK
    body = msgspec.json.encode({"message": message or None, "code": kind or None})
    read = failures.from_answer(status, metadata.get("HTTPHeaders", {}), body, now)
    found = _classify(kind.lower(), message[:_WORDS_CHARACTERS_MAX])
    if found is None:
        found = FailureClass.PROVIDER_ERROR if status == _STATUS_OK else read.failure
    if found is FailureClass.PERMISSION_DENIED and "bedrock:" not in (read.raw or ""):
        raw = f"{read.raw or ''} (needs the IAM action {action})".strip()
        read = replace(read, raw=raw[-RAW_MESSAGE_BYTES_MAX:])
    return replace(read, failure=found)


def _classify(kind: str, message: str) -> FailureClass | None:
    found = _BY_TYPE.get(kind)
    message = message.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    match found:
        case FailureClass.PERMISSION_DENIED if _KEY_WORDS.search(message):
            return FailureClass.KEY_REFUSED
        case FailureClass.KEY_REFUSED if _CLOCK_WORDS.search(message):
            return FailureClass.PROVIDER_ERROR  # our clock's fault or theirs, not the key's
        case FailureClass.INVALID_REQUEST:
            return next((each for each, words in _BY_WORDS if words.search(message)), found)
        case None if _KEY_WORDS.search(message):
            return FailureClass.KEY_REFUSED
        case _:
            return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
