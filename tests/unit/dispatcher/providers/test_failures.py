"""What each refusal means, and that no refusal carries a key out."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from services.dispatcher.domain.failure import (
    RAW_MESSAGE_BYTES_MAX,
    FailureClass,
    ProviderFailure,
)
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.retry_after import (
    RETRY_AFTER_SECONDS_MAX,
    read_retry_after,
)
from tests.contract.providers.builders import NOW

_KEY = "0123456789abcdef0123456789abcdef"


def _read(status: int, body: Any, *, key: str = _KEY) -> ProviderFailure:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return FailureReader(key).from_answer(status, {}, raw, NOW)


def _error(message: str = "", kind: str | None = None, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _google(
    code: int,
    message: str,
    *,
    status: str = "INVALID_ARGUMENT",
    reason: str | None = None,
    retry_delay: object = None,
) -> dict[str, Any]:
    details: list[Any] = [
        7,
        {"@type": "type.googleapis.com/google.rpc.Help", "links": []},
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay},
    ]
    return {"error": {"code": code, "message": message, "status": status, "details": details}}


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (301, FailureClass.MISCONFIGURED),
        (307, FailureClass.MISCONFIGURED),
        (400, FailureClass.INVALID_REQUEST),
        (401, FailureClass.KEY_REFUSED),
        (402, FailureClass.QUOTA_EXHAUSTED),
        (403, FailureClass.PERMISSION_DENIED),
        (404, FailureClass.MISCONFIGURED),
        (405, FailureClass.MISCONFIGURED),
        (408, FailureClass.TIMED_OUT),
        (409, FailureClass.PROVIDER_ERROR),
        (413, FailureClass.INVALID_REQUEST),
        (415, FailureClass.INVALID_REQUEST),
        (422, FailureClass.INVALID_REQUEST),
        (424, FailureClass.PROVIDER_ERROR),
        (429, FailureClass.RATE_LIMITED),
        (500, FailureClass.PROVIDER_ERROR),
        (502, FailureClass.PROVIDER_ERROR),
        (503, FailureClass.PROVIDER_ERROR),
        (504, FailureClass.TIMED_OUT),
        (524, FailureClass.TIMED_OUT),
        (529, FailureClass.PROVIDER_ERROR),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>nope</html>", b"{}", b"[]", b"\xff"])
def test_a_status_without_words_is_taken_for_itself(
    status: int, failure: FailureClass, body: bytes
) -> None:
    assert _read(status, body) == ProviderFailure(failure=failure, status=status)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        # OpenAI
        (429, _error("quota", "insufficient_quota", "insufficient_quota"), "quota_exhausted"),
        (429, _error("slow", "requests", "rate_limit_exceeded"), "rate_limited"),
        (413, _error("Request too large", "tokens", "rate_limit_exceeded"), "rate_limited"),
        (
            400,
            _error("long", "invalid_request_error", "context_length_exceeded"),
            "context_too_long",
        ),
        (
            400,
            _error("This model's maximum context length is 8192 tokens.", "invalid_request_error"),
            "context_too_long",
        ),
        (
            400,
            _error("Invalid prompt", "invalid_request_error", "invalid_prompt"),
            "content_refused",
        ),
        (403, _error("flagged", None, "content_policy_violation"), "content_refused"),
        (404, _error("no such model", "invalid_request_error", "model_not_found"), "misconfigured"),
        (400, _error("no such model", "invalid_request_error", "model_not_found"), "misconfigured"),
        (403, _error("no access to model", None, "model_not_found"), "misconfigured"),
        (400, _error("Unknown parameter: 'x'", "invalid_request_error"), "invalid_request"),
        (400, _error("max_tokens is too large: 9", "invalid_request_error"), "invalid_request"),
        (401, _error("Incorrect API key provided", None, "invalid_api_key"), "key_refused"),
        (
            403,
            _error("Country not supported", "request_forbidden", "unsupported"),
            "permission_denied",
        ),
        # Azure: codes are words or numbers as text
        (404, _error("does not exist", None, "DeploymentNotFound"), "misconfigured"),
        (404, _error("Resource not found", None, "404"), "misconfigured"),
        (400, _error("filtered", None, "content_filter"), "content_refused"),
        (400, _error("API version not supported", None, "BadRequest"), "misconfigured"),
        (
            400,
            _error("does not work with the model", None, "OperationNotSupported"),
            "misconfigured",
        ),
        (429, _error("exceeded token rate limit", None, "429"), "rate_limited"),
        (403, _error("Virtual Network/Firewall rules", None, "403"), "permission_denied"),
        # Mistral
        (401, {"message": "Unauthorized", "request_id": "x"}, "key_refused"),
        (
            422,
            {"object": "error", "message": {"detail": [{"type": "extra_forbidden"}]}, "code": None},
            "invalid_request",
        ),
        (
            400,
            {"message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
            "misconfigured",
        ),
        (429, {"message": "Requests rate limit exceeded"}, "rate_limited"),
        (
            400,
            {
                "message": "Prompt contains 99 tokens, too large for model with 8 maximum context",
                "code": "3051",
            },
            "context_too_long",
        ),
        # DeepSeek, xAI, Google's endpoint, others
        (
            402,
            _error("Insufficient Balance", "unknown_error", "invalid_request_error"),
            "quota_exhausted",
        ),
        (400, {"code": "x", "error": "Incorrect API key provided: 12***34."}, "key_refused"),
        (
            403,
            {"code": "x", "error": "Your team has used all available credits"},
            "quota_exhausted",
        ),
        (429, {"error": "You ran out of credits"}, "quota_exhausted"),
        (
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": "API key not valid.",
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
            "key_refused",
        ),
        (400, [_google(400, "API key expired. Please renew the API key.")], "key_refused"),
        (400, [_google(400, "Nein.", reason="API_KEY_INVALID")], "key_refused"),
        (400, [_google(400, "Invalid JSON payload received. Unknown name")], "invalid_request"),
        (
            429,
            [_google(429, "You exceeded your current quota.", status="RESOURCE_EXHAUSTED")],
            "rate_limited",
        ),
        (404, [_google(404, "models/x is not found", status="NOT_FOUND")], "misconfigured"),
        (503, [_google(503, "The model is overloaded.", status="UNAVAILABLE")], "provider_error"),
        # Cohere
        (401, {"id": "1", "message": "invalid api token"}, "key_refused"),
        (400, {"id": "1", "message": "invalid api token"}, "key_refused"),
        (
            422,
            {"id": "1", "message": "unknown field: parameter 'n' is not a valid field."},
            "invalid_request",
        ),
        (422, {"detail": [{"loc": ["body"], "msg": "bad"}]}, "invalid_request"),
        (500, _error("oops", "server_error"), "provider_error"),
        (503, _error("maximum context length", None), "provider_error"),
    ],
)
def test_an_errors_own_words_say_more_than_its_status(status: int, body: Any, failure: str) -> None:
    read = _read(status, body)
    assert read.failure == failure
    assert read.status == status


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("20.5s", 20.5),
        ("36s", 36),
        ("0s", 0),
        ("soon", None),
        ("-1s", None),
        (7, None),
        (None, None),
    ],
)
def test_google_says_among_its_details_when_to_come_back(
    delay: object, seconds: float | None
) -> None:
    body = [_google(429, "Resource exhausted.", status="RESOURCE_EXHAUSTED", retry_delay=delay)]
    assert _read(429, body).retry_after_seconds == seconds
    raw = msgspec.json.encode(body)
    later = FailureReader(_KEY).from_answer(429, {"retry-after": "5"}, raw, NOW)
    assert later.retry_after_seconds == 5


def test_google_calls_a_wrong_key_by_its_reason() -> None:
    read = _read(400, [_google(400, "API key not valid.", reason="API_KEY_INVALID")])
    assert (read.failure, read.code) == (FailureClass.KEY_REFUSED, "API_KEY_INVALID")


def test_the_providers_own_message_and_code_are_kept() -> None:
    read = _read(
        400, _error("Unknown parameter: 'x'", "invalid_request_error", "unknown_parameter")
    )
    assert read.raw == "Unknown parameter: 'x'"
    assert read.code == "unknown_parameter"
    assert _read(401, _error("no", "invalid_request_error")).code == "invalid_request_error"
    assert _read(429, _error("no", None, 429)).code == "429"


def test_of_a_page_that_is_no_json_nothing_is_passed_on() -> None:
    assert _read(502, b"<html>internal host 10.0.0.7</html>").raw is None


def test_a_long_message_is_cut_to_its_limit_without_breaking_a_character() -> None:
    raw = _read(400, _error("\N{SNOWMAN}" * 5000)).raw
    assert raw is not None
    assert len(raw.encode()) <= RAW_MESSAGE_BYTES_MAX
    assert set(raw) == {"\N{SNOWMAN}"}


@pytest.mark.parametrize(
    "message",
    [
        f"Incorrect key {_KEY} given",
        f"{_KEY}{_KEY}",
        "Incorrect API key provided: 01234567********cdef.",
        "Incorrect API key provided: sk-proj-abcdef.",
        "Bearer sk-or-v1-0123456789 is wrong",
        "x" * (RAW_MESSAGE_BYTES_MAX * 2 - 10) + _KEY,
        f"{_KEY} " * 300,
    ],
)
def test_no_part_of_a_key_leaves_with_an_error(message: str) -> None:
    for body in (_error(message, message, message), {"message": message}, {"error": message}):
        read = _read(401, body)
        for text in (read.raw or "", read.code or ""):
            for piece in ("01234567", "cdef", "abcdef", "sk-or"):
                assert piece not in text


@given(st.text(max_size=50), st.integers(min_value=0, max_value=20))
def test_the_key_that_was_sent_never_comes_back(around: str, times: int) -> None:
    read = _read(400, _error(f"{around}{_KEY}" * times + around))
    assert _KEY not in (read.raw or "")


@given(st.integers(min_value=300, max_value=599), st.binary(max_size=300))
def test_no_answer_at_all_can_make_the_reading_fail(status: int, body: bytes) -> None:
    assert _read(status, body).status == status


def test_nesting_without_end_is_only_a_refusal() -> None:
    assert _read(400, b'{"error":' * 50_000).failure is FailureClass.INVALID_REQUEST


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"x-ms-retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "Fri, 20 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Fri, 20 Nov 2026 11:00:30 GMT"}, 0.0),
        ({"Retry-After": "Fri, 20 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"Retry-After": "99999999999"}, RETRY_AFTER_SECONDS_MAX),
        ({"Retry-After": "1e400"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "Fri, 99 Nov 2026 12:00:30 GMT"}, None),
    ],
)
def test_when_to_come_back_is_read_from_whichever_header_says_so(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert read_retry_after(CIMultiDict(headers), NOW) == seconds


@given(st.text(max_size=80))
def test_no_text_at_all_can_break_the_reading_of_retry_after(text: str) -> None:
    seconds = read_retry_after(CIMultiDict({"Retry-After": text}), NOW)
    assert seconds is None or NOW + timedelta(seconds=seconds) >= NOW


def test_what_knows_a_key_does_not_print_it() -> None:
    assert "sk-of-somebody" not in repr(FailureReader("sk-of-somebody", ("sk-of-somebody-too",)))
