"""Pasted secrets of every provider: plain strings, and what holds for all formats."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.key_vault.domain.formats.parsed_secret import ParsedSecret
from services.key_vault.domain.formats.registry import FORMATS
from shared.events.credential_secrets import (
    PROVIDERS_WITH_A_FORMAT,
    StringSecret,
    decode_secret,
    encode_secret,
)
from shared.events.envelope import Refused
from tests.support.pasted_keys import (
    AWS,
    CANARY,
    DEPLOYMENT,
    LONG_TERM_KEY,
    RESOURCE,
    TEMPORARY,
    check_refusal,
    parse,
    service_account,
    short_term_key,
    taken,
)

BAD_STRINGS = [
    ("", "The key is empty"),
    (" \n\t ", "The key is empty"),
    ("x" * 4097, "longer than 4096"),
    (f"sk-{CANARY} and more", "white space inside"),
    (f"sk-{CANARY}\nsk-2", "white space inside"),
    (f"sk-\u00a0{CANARY}", "white space inside"),
    (f"sk-{CANARY}\0", "not printable ASCII"),
    (f"sk-{CANARY}\x7f", "not printable ASCII"),
    (f"sk-{CANARY}é", "not printable ASCII"),
    (f"sk-{CANARY}\ud800", "not printable ASCII"),
    (f"“sk-{CANARY}”", "not printable ASCII"),
    (f'{{"api_key": "{CANARY}"}}', "looks like JSON"),
    (f'["{CANARY}"]', "looks like JSON"),
]


@pytest.mark.parametrize(("pasted", "message"), BAD_STRINGS)
def test_each_mistake_in_a_string_key_is_named(pasted: str, message: str) -> None:
    check_refusal("openai", pasted, "key", message)


def test_a_string_key_is_trimmed_and_kept() -> None:
    parsed = taken("openai", "  sk-proj-0123456789abcdefAbCd\n")

    assert parsed.secret == StringSecret(value="sk-proj-0123456789abcdefAbCd")
    assert (parsed.label, parsed.deployments) == ("sk-...AbCd", None)


@pytest.mark.parametrize("provider", ["", "OpenAI", "a b", "a\0", "-a", "x" * 65, "a/b"])
def test_what_is_no_provider_slug_is_refused(provider: str) -> None:
    refused = parse(provider, "x")

    assert isinstance(refused, Refused)
    assert refused.field == "provider"


def _names(value: Any) -> list[str]:
    """The names of all fields in a value."""
    match value:
        case dict():
            return list(value)
        case list():
            return [name for each in value for name in _names(each)]
        case _:
            return []


def _strings(value: Any) -> list[str]:
    """All texts in a value."""
    match value:
        case str():
            return [value]
        case dict():
            return [text for each in value.values() for text in _strings(each)]
        case _:
            return [text for each in value for text in _strings(each)]


GOOD: dict[str, list[Any]] = {
    "openai": ["sk-proj-0123456789abcdefAbCd"],
    "azure": [DEPLOYMENT, [RESOURCE], [RESOURCE, DEPLOYMENT]],
    "amazon-bedrock": [LONG_TERM_KEY, short_term_key(), AWS, TEMPORARY, {"apiKey": LONG_TERM_KEY}],
    "google-vertex": [service_account()],
}


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_every_provider_with_a_format_has_one_here() -> None:
    assert FORMATS.keys() == PROVIDERS_WITH_A_FORMAT


@pytest.mark.parametrize(
    ("provider", "value"), [(name, each) for name, values in GOOD.items() for each in values]
)
def test_what_is_taken_comes_out_of_its_ciphertext_again_and_does_not_print(
    provider: str, value: Any
) -> None:
    parsed = taken(provider, as_text(value))

    assert decode_secret(encode_secret(parsed.secret)) == parsed.secret
    secrets = [text for text in _strings(value) if len(text) >= 28 and "://" not in text]
    assert secrets
    shown = f"{parsed!r} {parsed.label} {parsed.secret!r}"
    assert not any(secret in shown for secret in secrets)


@settings(deadline=None)  # loading an RSA key takes its time
@given(st.text())
def test_no_text_makes_a_format_fail(pasted: str) -> None:
    for provider in GOOD:
        assert isinstance(parse(provider, pasted), ParsedSecret | Refused)


_pieces = st.lists(
    st.sampled_from([CANARY, "{", "}", "[", "]", '"', ":", ",", "\\", "\n", "ABSK", "AKIA"])
    | st.sampled_from(["bedrock-api-key-", "-----BEGIN PRIVATE KEY-----", "https://", ".azure.com"])
    | st.sampled_from([f'"{name}"' for value in GOOD.values() for name in _names(value)])
    | st.text(max_size=8),
    max_size=40,
).map("".join)


@settings(deadline=None)  # loading an RSA key takes its time
@given(_pieces)
def test_no_text_makes_a_refusal_repeat_what_was_pasted(pasted: str) -> None:
    for provider in GOOD:
        parsed = parse(provider, pasted)
        if isinstance(parsed, Refused):
            assert CANARY not in str(parsed)


@settings(deadline=None)  # loading an RSA key takes its time
@given(st.data())
def test_no_change_of_what_is_right_makes_a_format_fail_or_repeat_it(data: st.DataObject) -> None:
    provider = data.draw(st.sampled_from(sorted(GOOD)))
    text = as_text(data.draw(st.sampled_from(GOOD[provider])))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 60)))
    planted = data.draw(st.sampled_from([CANARY, f'"{CANARY}"', "", "\0", "\ud800", "{", '"']))

    parsed = parse(provider, text[:start] + planted + text[end:])

    if isinstance(parsed, Refused):
        assert CANARY not in str(parsed)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)  # loading an RSA key takes its time
@given(st.data())
def test_any_json_in_the_place_of_a_field_is_taken_or_refused_by_that_field(
    data: st.DataObject,
) -> None:
    provider = data.draw(st.sampled_from(["azure", "amazon-bedrock", "google-vertex"]))
    whole = data.draw(st.sampled_from([each for each in GOOD[provider] if isinstance(each, dict)]))
    name = data.draw(st.sampled_from(sorted(whole)))

    parsed = parse(provider, json.dumps(whole | {name: data.draw(_json)}))

    if isinstance(parsed, Refused):
        assert parsed.field is not None
        assert parsed.field.startswith("key")
        assert CANARY not in str(parsed)


@settings(deadline=None)  # loading an RSA key takes its time
@given(st.data(), st.text(max_size=8), st.text(max_size=8))
def test_a_key_in_the_place_of_a_fields_name_is_not_repeated(
    data: st.DataObject, before: str, after: str
) -> None:
    provider = data.draw(st.sampled_from(["azure", "amazon-bedrock", "google-vertex"]))
    whole = data.draw(st.sampled_from([each for each in GOOD[provider] if isinstance(each, dict)]))
    name = data.draw(st.sampled_from(sorted(whole)))
    renamed = {key: value for key, value in whole.items() if key != name}

    parsed = parse(provider, json.dumps(renamed | {f"{before}{CANARY}{after}": whole[name]}))

    if isinstance(parsed, Refused):
        assert CANARY not in str(parsed)
