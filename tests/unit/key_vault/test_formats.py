"""Pasted secrets: what is taken, and what each mistake is answered with."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.key_vault.domain.formats.parsed_secret import ParsedSecret
from services.key_vault.domain.formats.registry import format_of
from shared.events.credential_secrets import (
    AzureDeploymentSecret,
    AzureSecret,
    StringSecret,
    decode_secret,
    encode_secret,
)
from shared.events.envelope import Refused
from shared.secret import Secret

CANARY = "Zq7canaryZq7"
URL = (
    "https://res.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
)
DEPLOYMENT = {
    "model_slug": "openai/gpt-4o",
    "endpoint_url": URL,
    "api_key": "0123456789abcdef0123456789abcdef",
    "model_id": "gpt-4o",
}
ALLOWED = frozenset({"127.0.0.1:9300", "[::1]:9300", "llm.internal:443"})
PATH = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"


def parse(provider: str, pasted: str) -> ParsedSecret | Refused:
    found = format_of(provider)
    return found if isinstance(found, Refused) else found(Secret(pasted), ALLOWED)


def taken(provider: str, pasted: str) -> ParsedSecret:
    parsed = parse(provider, pasted)
    assert isinstance(parsed, ParsedSecret), parsed
    return parsed


def azure(**changes: Any) -> str:
    return json.dumps(DEPLOYMENT | changes)


def with_url(url: str) -> str:
    return azure(endpoint_url=url)


def without(name: str) -> str:
    return json.dumps({key: value for key, value in DEPLOYMENT.items() if key != name})


HOST = "https://res.openai.azure.com"
BAD_URLS = {
    "": "must not be empty",
    f"{HOST}/{'x' * 2048}{PATH}": "longer than 2048",
    f"https://<resource>.openai.azure.com{PATH}": "placeholder",
    f"{HOST}/ {CANARY}{PATH}": "printable ASCII",
    f"{HOST}\\@{CANARY}{PATH}": "backslashes",
    f"{URL}#{CANARY}": "fragment",
    f"ftp://{CANARY}.openai.azure.com{PATH}": "begin with https:// and a host",
    f"https://[{CANARY}{PATH}": "must be a URL",
    f"https://res.openai.azure.com:x{CANARY}{PATH}": "must be a URL",
    f"https://user:{CANARY}@res.openai.azure.com{PATH}": "user name or password",
    f"http://{CANARY}.openai.azure.com{PATH}": "begin with https://",
    f"http://127.0.0.1:9301{PATH}": "begin with https://",
    f"https://{CANARY}.example.com{PATH}": "host of Azure",
    f"https://openai.azure.com.{CANARY}.com{PATH}": "host of Azure",
    f"https://openai.azure.com{PATH}": "host of Azure",
    f"https://res.openai.azure.com.{PATH}": "host of Azure",
    f"https://-{CANARY}.openai.azure.com{PATH}": "host of Azure",
    f"https://169.254.169.254{PATH}": "host of Azure",
    f"https://res.openai.azure.com:8443{PATH}": "name a port",
    f"{HOST}/openai/deployments/{CANARY}?api-version=2024-10-21": "end in /chat/completions",
    f"{HOST}/chat/completions/?api-version=2024-10-21": "end in /chat/completions",
    f"{HOST}/a/../{CANARY}{PATH}": "plain path",
    f"{HOST}/a%2f{CANARY}{PATH}": "plain path",
    f"{HOST}//{CANARY}{PATH}": "plain path",
    f"{HOST}/chat/completions": "say the API version",
    f"{HOST}/chat/completions?key={CANARY}": "say the API version",
    f"{HOST}/chat/completions?{CANARY}": "have a query like",
    f"{HOST}/chat/completions?api-version=1&sig={CANARY}": "nothing but api-version",
    f"{HOST}/chat/completions?api-version=1&api-version=2": "nothing but api-version",
    f"{HOST}/chat/completions?api-version=": "a value like",
    f"{HOST}/chat/completions?api-version={CANARY}%20x": "a value like",
}
BAD_AZURE = [
    ("", "key", "Azure takes a JSON object"),
    (CANARY, "key", "Azure takes a JSON object"),
    (f'"{CANARY}"', "key", "Azure takes a JSON object"),
    ("[]", "key", "The array is empty"),
    (json.dumps([DEPLOYMENT] * 101), "key", "more than 100 deployments"),
    (f'{{"api_key": {CANARY}}}', "key", "not valid JSON: see line 1, column 13"),
    (f'{{"api_key": "{CANARY}",}}', "key", "not valid JSON: see line 1"),
    (f'{{"a": "{CANARY}", "a": "{CANARY}"}}', "key", "names a field twice"),
    ('{"api_key": NaN}', "key", "NaN or Infinity"),
    ('{"api_key": -Infinity}', "key", "NaN or Infinity"),
    ("[" * 100_000, "key", "nested deeper than 8"),
    ('{"api_key": ' + "9" * 5000 + "}", "key", "not JSON that can be read"),
    (f'{{"api_key": "{"x" * 300_000}"}}', "key", "longer than 262144"),
    ('["x"]', "key[0]", "Must be an object with"),
    (json.dumps([DEPLOYMENT, None]), "key[1]", "Must be an object with"),
    (json.dumps([[DEPLOYMENT]]), "key[0]", "Must be an object with"),
    ("{}", "key.model_slug", "Missing: model_slug, endpoint_url, api_key, model_id"),
    (without("api_key"), "key.api_key", "Missing: api_key"),
    (json.dumps([DEPLOYMENT, json.loads(without("model_id"))]), "key[1].model_id", "Missing: mod"),
    (azure(endpointUrl=CANARY), "key.endpointUrl", "endpointUrl is unknown"),
    (azure(**{CANARY: "x"}), "key", "a field that is unknown"),
    (azure(**{"ab" * 20: "x"}), "key", "a field that is unknown"),
    (azure(api_key=5), "key.api_key", "api_key must be a string"),
    (azure(model_slug=None), "key.model_slug", "model_slug must be a string"),
    (azure(endpoint_url=[CANARY]), "key.endpoint_url", "endpoint_url must be a string"),
    (azure(model_id={"a": CANARY}), "key.model_id", "model_id must be a string"),
    (azure(model_slug="the-openroute-model-slug"), "key.model_slug", "like openai/gpt-4o"),
    (azure(model_slug=f"a/b {CANARY}"), "key.model_slug", "like openai/gpt-4o"),
    (azure(model_slug="a/" + "b" * 200), "key.model_slug", "like openai/gpt-4o"),
    (azure(model_id=""), "key.model_id", "the name of your deployment"),
    (azure(model_id=f"{CANARY} 4o"), "key.model_id", "the name of your deployment"),
    (azure(api_key=""), "key.api_key", "The key is empty"),
    (azure(api_key=f"{CANARY}\n"), "key.api_key", "white space inside"),
    (azure(api_key=f"{CANARY}\0"), "key.api_key", "not printable ASCII"),
    (azure(api_key=f"{CANARY}\ud800"), "key.api_key", "not printable ASCII"),
    (
        json.dumps([DEPLOYMENT, DEPLOYMENT]),
        "key[1].model_slug",
        "The model of key[0] is here again",
    ),
]
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


@pytest.mark.parametrize(("pasted", "field", "message"), BAD_AZURE)
def test_each_mistake_in_an_azure_key_is_named_with_its_place(
    pasted: str, field: str, message: str
) -> None:
    refused = parse("azure", pasted)

    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", field)
    assert message in refused.message
    assert CANARY not in str(refused)


@pytest.mark.parametrize(("url", "message"), BAD_URLS.items())
def test_each_mistake_in_an_endpoint_url_is_named_without_repeating_it(
    url: str, message: str
) -> None:
    refused = parse("azure", with_url(url))

    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", "key.endpoint_url")
    assert message in refused.message
    assert CANARY not in str(refused)


@pytest.mark.parametrize(("pasted", "message"), BAD_STRINGS)
def test_each_mistake_in_a_string_key_is_named(pasted: str, message: str) -> None:
    refused = parse("openai", pasted)

    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", "key")
    assert message in refused.message
    assert CANARY not in str(refused)


@pytest.mark.parametrize(
    "url",
    [
        "https://example-project.services.ai.azure.com/deployments/m/chat/completions?api-version=1",
        "https://EXAMPLE.openai.azure.com/openai/deployments/m/chat/completions?api-version=preview",
        "https://res.cognitiveservices.azure.com:443/openai/v1/chat/completions?api-version=v1",
        "https://res.openai.azure.us/chat/completions?api-version=2024-08-01-preview",
        "https://res.openai.azure.cn/chat/completions?api-version=2024-08-01-preview",
        "http://127.0.0.1:9300/azure/deployments/m/chat/completions?api-version=1",
        "http://[::1]:9300/chat/completions?api-version=1",
        "https://llm.internal/chat/completions?api-version=1",
        "https://LLM.internal:443/chat/completions?api-version=1",
    ],
)
def test_endpoints_of_azure_and_of_the_operators_list_are_taken_as_they_stand(url: str) -> None:
    secret = taken("azure", with_url(url)).secret

    assert isinstance(secret, AzureSecret)
    assert secret.deployments[0].endpoint_url == url


def test_a_single_azure_object_is_the_same_as_an_array_of_one() -> None:
    single, several = taken("azure", f"\ufeff {azure()}\n"), taken("azure", f"[{azure()}]")

    assert single == several
    assert single.label == "...cdef"


def test_a_string_key_is_trimmed_and_kept() -> None:
    parsed = taken("openai", "  sk-proj-0123456789abcdefAbCd\n")

    assert parsed.secret == StringSecret(value="sk-proj-0123456789abcdefAbCd")
    assert (parsed.label, parsed.deployments) == ("sk-...AbCd", None)


@pytest.mark.parametrize("provider", ["amazon-bedrock", "google-vertex"])
def test_a_provider_without_an_adapter_is_refused(provider: str) -> None:
    refused = parse(provider, "x")

    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", "provider")


@pytest.mark.parametrize("provider", ["", "OpenAI", "a b", "a\0", "-a", "x" * 65, "a/b"])
def test_what_is_no_provider_slug_is_refused(provider: str) -> None:
    refused = parse(provider, "x")

    assert isinstance(refused, Refused)
    assert refused.field == "provider"


words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20).map(
    lambda text: f"a{text.strip('-')}z"
)
deployments = st.builds(
    lambda author, model, host, version, key: AzureDeploymentSecret(
        model_slug=f"{author}/{model}",
        endpoint_url=f"https://{host}.openai.azure.com/openai/deployments/{model}"
        f"/chat/completions?api-version={version}",
        api_key=key,
        model_id=model,
    ),
    words,
    words,
    words,
    words,
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80).filter(
        lambda text: text[0] not in "{["
    ),
)


@given(st.lists(deployments, min_size=1, max_size=8, unique_by=lambda each: each.model_slug))
def test_reading_what_was_written_gives_the_same_deployments(
    given_deployments: list[AzureDeploymentSecret],
) -> None:
    pasted = msgspec.json.encode(given_deployments).decode()

    secret = taken("azure", pasted).secret

    assert secret == AzureSecret(deployments=given_deployments)
    assert decode_secret(encode_secret(secret)) == secret


@given(st.text())
def test_no_text_makes_a_format_fail(pasted: str) -> None:
    for provider in ("azure", "openai"):
        assert isinstance(parse(provider, pasted), ParsedSecret | Refused)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_json_makes_the_azure_format_fail(value: Any) -> None:
    assert isinstance(parse("azure", json.dumps(value)), ParsedSecret | Refused)
    assert isinstance(parse("azure", json.dumps([value, DEPLOYMENT])), Refused)
