from datetime import UTC, datetime
from decimal import Decimal

import pytest
from typing_extensions import override

from shared.secret import Secret
from shared.telemetry.redact import redact_fields, scrub

CANARY = "C4n4ryC4n4ryC4n4ryC4n4ryC4n4ry"
PEM = f"-----BEGIN PRIVATE KEY-----\nMII{CANARY}\n-----END PRIVATE KEY-----\n"

SECRET_TEXTS = [
    f"sk-or-v1-{CANARY}",
    f"key is sk-{CANARY}.",
    f"sk-ant-api03-{CANARY}-x_y",
    f"AIzaSy{CANARY}",
    f"ya29.{CANARY}",
    f"ABSK{CANARY}==",
    f"bedrock-api-key-{CANARY}",
    "AKIAC4N4RYC4N4RYC4N4",
    PEM,
    PEM.replace("\n", "\\n"),
    f"cut off: -----BEGIN RSA PRIVATE KEY-----\n{CANARY}",
    f"vault:v12:{CANARY}=",
    f"hvs.{CANARY}",
    f"whsec_{CANARY}",
    f"token s.{CANARY} expired",
    f"Authorization: Bearer {CANARY}",
    f"authorization: basic {CANARY}",
    f"bearer {CANARY}",
    f"api-key: {CANARY}",
    f"x-goog-api-key: {CANARY}",
    f"{{'api_key': '{CANARY}'}}",
    f'{{"secretAccessKey": "{CANARY}"}}',
    f'{{\\"api_key\\": \\"{CANARY}\\"}}',
    f"https://x/v1/models?key={CANARY}&alt=sse",
    f"https://x/blob?sv=1&sig={CANARY}",
    f"postgresql://billing:{CANARY}@127.0.0.1/openroute",
    f"password={CANARY}",
    f"client_secret: {CANARY}",
    f"access_token={CANARY}",
    f"X-Vault-Token: {CANARY}",
    f"eyJ{CANARY}.eyJ{CANARY}.{CANARY}",
]


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    masked = scrub(f"before {text} after")

    assert CANARY not in masked
    assert "C4N4RY" not in masked
    assert "***" in masked
    assert masked.startswith("before ")


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_it_is_masked_however_deep_it_stands(text: str) -> None:
    line = redact_fields({"a": [{"b": (text, {text: 1})}], "c": text, text: "d", "e": Opaque(text)})

    assert CANARY not in repr(line)
    assert "C4N4RY" not in repr(line)


@pytest.mark.parametrize(
    "text",
    [
        "gen-0190c3a0-5c2b-7b3e-9b1e-1234567890ab",
        "openai/gpt-4o",
        "task-force disk-usage",
        "prompt_tokens=120 completion_tokens: 400",
        "https://example.openai.azure.com/openai/deployments/gpt-4o?api-version=2024-08-01",
        "the token is expired",
        "api_key: null",
        "kafka is unavailable: RequestTimedOutError",
        "2026-01-01T00:00:00.000000Z",
        "us.anthropic.claude-sonnet-4-20250514-v1:0",
        "d41d8cd98f00b204e9800998ecf8427e",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(
    "name",
    ["api_key", "x-vault-token", "Authorization", "secretAccessKey", "password", "client_secret"],
)
def test_what_stands_under_a_telling_name_is_masked_as_a_whole(name: str) -> None:
    assert redact_fields({"headers": {name: ["short"]}}) == {"headers": {name: "***"}}


def test_numbers_and_harmless_names_stay() -> None:
    line = {"prompt_tokens": 12, "secret_revision": 3, "key_hash": "d41d8c", "has_key": True}

    assert redact_fields(line) == line


def test_what_is_not_json_becomes_text() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)

    assert redact_fields(
        {"a": moment, "b": Decimal("1.50"), "c": b"abc", "d": Secret("x"), "e": {1}}
    ) == {
        "a": "2026-01-02T00:00:00+00:00",
        "b": "1.50",
        "c": "<3 bytes>",
        "d": "Secret(***)",
        "e": [1],
    }


def test_a_value_that_holds_itself_ends() -> None:
    endless: list[object] = []
    endless.append(endless)

    assert "..." in repr(redact_fields({"endless": endless}))


class Opaque:
    def __init__(self, text: str) -> None:
        self._text = text

    @override
    def __repr__(self) -> str:
        return f"Opaque({self._text})"


def test_a_secret_of_letters_and_digits_alone_is_no_id() -> None:
    for secret in ("sk-abcdefgh12345678", "sk-0a1b2c3d4e5f6789"):
        assert redact_fields({"note": secret}) == {"note": "***"}


def test_a_text_that_was_clean_before_vouches_for_no_other() -> None:
    for _ in range(2):
        assert redact_fields({"model": "openai/gpt-4o"}) == {"model": "openai/gpt-4o"}
    fields = {"model": "openai/gpt-4o", "note": "sk-abcdefgh12345678"}
    assert redact_fields(fields) == {"model": "openai/gpt-4o", "note": "***"}
