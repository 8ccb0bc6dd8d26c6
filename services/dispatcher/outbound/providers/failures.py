"""What a provider's refusal or a broken connection means: one ProviderFailure for each.

The status alone misleads, so an error's own code and words are looked at first. Codes and texts are
those of OpenAI, Azure, Anthropic, Mistral, Groq, xAI, DeepSeek, Together, Fireworks, Google and Cohere
(references and public reports, autumn 2026).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec
from typing_extensions import override

from services.dispatcher.domain.failure import (
    RAW_MESSAGE_BYTES_MAX,
    FailureClass,
    ProviderFailure,
)
from services.dispatcher.outbound.providers.known_secrets import mask_pieces, mask_whole
from services.dispatcher.outbound.providers.retry_after import parse_seconds, read_retry_after
from shared.telemetry.redact import MASK, scrub

_CODE_CHARACTERS_MAX: Final = 64
_STATUS_OK: Final = 200

_BY_CODE: Final[Mapping[str, FailureClass]] = {
    "context_length_exceeded": FailureClass.CONTEXT_TOO_LONG,
    "model_max_prompt_tokens_exceeded": FailureClass.CONTEXT_TOO_LONG,
    "string_above_max_length": FailureClass.CONTEXT_TOO_LONG,
    "content_filter": FailureClass.CONTENT_REFUSED,
    "content_policy_violation": FailureClass.CONTENT_REFUSED,
    "responsibleaipolicyviolation": FailureClass.CONTENT_REFUSED,
    "invalid_prompt": FailureClass.CONTENT_REFUSED,
    "insufficient_quota": FailureClass.QUOTA_EXHAUSTED,
    "insufficient_balance": FailureClass.QUOTA_EXHAUSTED,
    "billing_hard_limit_reached": FailureClass.QUOTA_EXHAUSTED,
    "billing_not_active": FailureClass.QUOTA_EXHAUSTED,
    "invalid_api_key": FailureClass.KEY_REFUSED,
    "account_deactivated": FailureClass.KEY_REFUSED,
    "rate_limit_exceeded": FailureClass.RATE_LIMITED,
    "rate_limit_error": FailureClass.RATE_LIMITED,
    "api_key_invalid": FailureClass.KEY_REFUSED,
    "resource_exhausted": FailureClass.RATE_LIMITED,  # Google, whose words speak of quota each time
    "unauthenticated": FailureClass.KEY_REFUSED,
    "permission_denied": FailureClass.PERMISSION_DENIED,
    "billing_disabled": FailureClass.QUOTA_EXHAUSTED,
    "failed_precondition": FailureClass.MISCONFIGURED,
    "invalid_grant": FailureClass.KEY_REFUSED,
    "invalid_client": FailureClass.KEY_REFUSED,
    "unauthorized_client": FailureClass.KEY_REFUSED,
    "deploymentnotfound": FailureClass.MISCONFIGURED,
    "model_not_found": FailureClass.MISCONFIGURED,
    "invalid_model": FailureClass.MISCONFIGURED,
    "unknown_model": FailureClass.MISCONFIGURED,
    "operationnotsupported": FailureClass.MISCONFIGURED,
    "server_error": FailureClass.PROVIDER_ERROR,
    "overloaded_error": FailureClass.PROVIDER_ERROR,
    "timeout": FailureClass.TIMED_OUT,
    "authentication_error": FailureClass.KEY_REFUSED,
    "permission_error": FailureClass.PERMISSION_DENIED,
    "billing_error": FailureClass.QUOTA_EXHAUSTED,
    "not_found_error": FailureClass.MISCONFIGURED,
    "timeout_error": FailureClass.TIMED_OUT,
    "request_too_large": FailureClass.INVALID_REQUEST,
}
"""By `code`, `type`, Google's `reason`, or `status`, in lower case; these hold whatever the status is."""

_BY_WORDS: Final = (
    (
        FailureClass.CONTEXT_TOO_LONG,
        re.compile(
            r"maximum context length|context (?:length|window).{0,40}exceed|exceed.{0,40}context "
            r"(?:length|window|limit)|prompt is too long|too many tokens.{0,20}prompt|"
            r"prompt contains \d+ tokens|input token count.{0,40}exceeds the maximum",
            re.IGNORECASE,
        ),
    ),
    (
        FailureClass.CONTENT_REFUSED,
        re.compile(r"content filtering policy", re.IGNORECASE),
    ),
    (
        FailureClass.QUOTA_EXHAUSTED,
        re.compile(
            r"insufficient (?:balance|credit|fund)|credit balance|exceeded your current quota|"
            r"(?:run|ran) out of credit|used all available credits|spending limit|API usage limits",
            re.IGNORECASE,
        ),
    ),
    (
        FailureClass.KEY_REFUSED,
        re.compile(
            r"(?:incorrect|invalid) api (?:key|token)|api key (?:not valid|expired)"
            r"|organization has been disabled",
            re.IGNORECASE,
        ),
    ),
    (
        FailureClass.MISCONFIGURED,
        re.compile(
            r"api[ -]version|model.{0,80}(?:does not exist|not found|not supported)|invalid model",
            re.IGNORECASE,
        ),
    ),
)
"""For refusals (400 to 422) whose code says nothing."""

_BY_STATUS: Final[Mapping[int, FailureClass]] = {
    400: FailureClass.INVALID_REQUEST,
    401: FailureClass.KEY_REFUSED,
    402: FailureClass.QUOTA_EXHAUSTED,
    403: FailureClass.PERMISSION_DENIED,
    404: FailureClass.MISCONFIGURED,
    405: FailureClass.MISCONFIGURED,
    408: FailureClass.TIMED_OUT,
    409: FailureClass.PROVIDER_ERROR,
    410: FailureClass.MISCONFIGURED,
    413: FailureClass.INVALID_REQUEST,
    421: FailureClass.PROVIDER_ERROR,
    422: FailureClass.INVALID_REQUEST,
    424: FailureClass.PROVIDER_ERROR,
    425: FailureClass.PROVIDER_ERROR,
    429: FailureClass.RATE_LIMITED,
    498: FailureClass.PROVIDER_ERROR,  # Groq: no capacity
    499: FailureClass.PROVIDER_ERROR,  # some proxy thought that we had left
    504: FailureClass.TIMED_OUT,
    524: FailureClass.TIMED_OUT,
}

_REDIRECTS: Final = range(300, 400)
_OUR_FAULTS: Final = range(400, 500)
_REFUSALS: Final = range(400, 430)
_UNKNOWN_ERROR: Final = 500
_BAD_REQUEST: Final = 400
_VAGUE: Final = frozenset({400, 413, 422})
_WORDS_CHARACTERS_MAX: Final = 4096
"""What an error is about stands at its beginning."""

_KEY_SHAPES: Final = re.compile(
    r"\bsk-[A-Za-z0-9_\-*.]{2,}|[A-Za-z0-9_\-]{0,32}\*{3,}[A-Za-z0-9_\-*]*|\b(?:org|proj)[-_][A-Za-z0-9]{8,}"
)
"""Keys, keys half hidden by stars as providers repeat them, and ids of the key's owner."""


class _ErrorObject(msgspec.Struct):
    message: Any = None
    type: Any = None
    code: Any = None
    status: Any = None
    details: Any = None

    @property
    def reason(self) -> str | None:
        """What Google's `ErrorInfo` among the details calls it: `API_KEY_INVALID`, ..."""
        found = (part.get("reason") for part in self._details())
        return next((reason for reason in found if isinstance(reason, str)), None)

    @property
    def retry_delay_seconds(self) -> float | None:
        """What Google's `RetryInfo` among the details asks for: `20.5s`."""
        found = (part.get("retryDelay") for part in self._details())
        text = next((delay for delay in found if isinstance(delay, str)), "")
        return parse_seconds(text.removesuffix("s"))

    def _details(self) -> list[dict[str, Any]]:
        details = self.details if isinstance(self.details, list) else []
        return [part for part in details if isinstance(part, dict)]


class _Envelope(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()
    error_description: Any = None
    message: Any = None
    detail: Any = None
    type: Any = None
    code: Any = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_error = msgspec.json.Decoder(_ErrorObject | str | None).decode


def after_first_token(failure: ProviderFailure) -> ProviderFailure:
    """The same, once something of the answer is out: nothing falls back any more."""
    return replace(failure, failure=FailureClass.STREAM_CUT)


class FailureReader(msgspec.Struct, frozen=True):
    """Reads one call's failure. `secret` is the key that was sent, which nobody may repeat.

    `more_secrets` are other parts of a credential of several. It does not print.
    """

    secret: str
    more_secrets: tuple[str, ...] = ()

    @override
    def __repr__(self) -> str:
        return "FailureReader()"

    def from_answer(
        self, status: int, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> ProviderFailure:
        """What an answer with an error status means. Of a body that is no JSON nothing is kept."""
        error = _read_envelope(body)
        return self._failure(status, error, read_retry_after(headers, now))

    def from_error(self, raw: msgspec.Raw) -> ProviderFailure:
        """What an error object inside a 200 means; its code may hold the status it stands for."""
        return self._failure(_STATUS_OK, _read_error(raw), None)

    def _failure(
        self, status: int, error: _ErrorObject, retry_after_seconds: float | None
    ) -> ProviderFailure:
        message = _as_text(error.message)
        code = error.reason or _as_text(error.code) or _as_text(error.type)
        if retry_after_seconds is None:
            retry_after_seconds = error.retry_delay_seconds
        return ProviderFailure(
            failure=_classify(status, error, message or ""),
            status=status,
            code=None if code is None else self._clean(code)[:_CODE_CHARACTERS_MAX],
            raw=None if message is None else _cut(self._clean(message)),
            retry_after_seconds=retry_after_seconds,
        )

    def _clean(self, text: str) -> str:
        # The key first and all through, since a cut could leave a piece of it that nothing matches.
        secrets = (self.secret, *self.more_secrets)
        text = mask_whole(text, secrets)[: RAW_MESSAGE_BYTES_MAX * 2]
        return scrub(_KEY_SHAPES.sub(MASK, mask_pieces(text, secrets)))


def _classify(status: int, error: _ErrorObject, message: str) -> FailureClass:
    for word in (error.code, error.type, error.reason, error.status):
        if isinstance(word, str) and (found := _BY_CODE.get(word.lower())):
            return found
    if status == _STATUS_OK:
        status = _status_meant(error) or _UNKNOWN_ERROR
    return _by_words(status, message) or _by_status(status)


def _by_words(status: int, message: str) -> FailureClass | None:
    if status not in _REFUSALS:
        return None
    for found, words in _BY_WORDS:
        # Words decide where the status is a vague one; that money is gone they say best.
        vague = status in _VAGUE or found is FailureClass.QUOTA_EXHAUSTED
        if vague and words.search(message[:_WORDS_CHARACTERS_MAX]):
            return found
    return None


def _by_status(status: int) -> FailureClass:
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if status in _REDIRECTS:
        return FailureClass.MISCONFIGURED
    return FailureClass.INVALID_REQUEST if status in _OUR_FAULTS else FailureClass.PROVIDER_ERROR


def _status_meant(error: _ErrorObject) -> int | None:
    for value in (error.code, error.status):
        text = _as_text(value) or ""
        if len(text) == 3 and text.isascii() and text.isdigit() and int(text) >= 400:  # noqa: PLR2004
            return int(text)
    return _BAD_REQUEST if error.type == "invalid_request_error" else None


def _read_envelope(body: bytes) -> _ErrorObject:
    try:
        # Google's OpenAI-compatible endpoint wraps errors into a list of one.
        body = body.strip()
        if body.startswith(b"["):
            body = bytes(msgspec.json.decode(body, type=list[msgspec.Raw])[0])
        envelope = _decode_envelope(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
        return _ErrorObject()
    if bytes(envelope.error) not in {b"", b"null"}:
        error = _read_error(envelope.error)
        if envelope.error_description is None:
            return error
        # OAuth's shape (RFC 6749, 5.2): a word, and what it means beside it.
        return _ErrorObject(message=envelope.error_description, code=error.message)
    message = envelope.message if envelope.message is not None else envelope.detail
    return _ErrorObject(message=message, type=envelope.type, code=envelope.code)


def _read_error(raw: msgspec.Raw) -> _ErrorObject:
    try:
        error = _decode_error(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _ErrorObject()
    if isinstance(error, _ErrorObject):
        return error
    return _ErrorObject(message=error)


def _as_text(value: Any) -> str | None:
    match value:
        case None | "":
            return None
        case str():
            return value
        case _:
            return msgspec.json.encode(value).decode()


def _cut(text: str) -> str:
    if len(text) * 4 <= RAW_MESSAGE_BYTES_MAX:
        return text
    return text.encode("utf-8", "replace")[:RAW_MESSAGE_BYTES_MAX].decode("utf-8", "ignore")
