"""Azure: deployments and whole resources, one or many."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.key_vault.domain.formats.named_models import unknown_model
from services.key_vault.domain.formats.parsed_secret import NamedModel, ParsedSecret
from shared.events.credential_secrets import (
    AzureDeploymentSecret,
    AzureResourceSecret,
    AzureSecret,
    decode_secret,
    encode_secret,
)
from shared.events.credentials import Deployment, Resource
from shared.events.envelope import Refused
from tests.support.pasted_keys import (
    CANARY,
    DEPLOYMENT,
    HOST,
    PATH,
    RESOURCE,
    URL,
    check_refusal,
    parse,
    taken,
)


def azure(**changes: Any) -> str:
    return json.dumps(DEPLOYMENT | changes)


def resource(**changes: Any) -> str:
    return json.dumps(RESOURCE | changes)


def with_url(url: str) -> str:
    return azure(endpoint_url=url)


def without(name: str) -> str:
    return json.dumps({key: value for key, value in DEPLOYMENT.items() if key != name})


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
    (json.dumps([DEPLOYMENT] * 101), "key", "more than 100 elements"),
    (f'{{"api_key": {CANARY}}}', "key", "not valid JSON: see line 1, column 13"),
    (f'{{"api_key": "{CANARY}",}}', "key", "not valid JSON: see line 1"),
    (f'{{"a": "{CANARY}", "a": "{CANARY}"}}', "key", "names a field twice"),
    ('{"api_key": NaN}', "key", "NaN or Infinity"),
    ('{"api_key": -Infinity}', "key", "NaN or Infinity"),
    ("[" * 100_000, "key", "nested deeper than 8"),
    ('{"api_key": ' + "9" * 5000 + "}", "key", "not JSON that can be read"),
    (f'{{"api_key": "{"x" * 300_000}"}}', "key", "longer than 262144"),
    ('["x"]', "key[0]", "Must be an object; an element is either"),
    (json.dumps([DEPLOYMENT, None]), "key[1]", "Must be an object; an element is either"),
    (json.dumps([[DEPLOYMENT]]), "key[0]", "Must be an object; an element is either"),
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
BAD_RESOURCES = [
    (
        json.dumps({"resource_name": CANARY.lower()}),
        "key.api_key",
        "Missing: api_key",
    ),
    (
        json.dumps({"api_key": CANARY, "resource_type": "openai"}),
        "key.resource_name",
        "Missing: resource_name",
    ),
    (json.dumps({"api_key": CANARY, "name": "x"}), "key.name", "name is unknown"),
    (json.dumps({"api_key": CANARY, CANARY: "x"}), "key", "a field that is unknown"),
    (
        resource(model_slug="openai/gpt-4o"),
        "key.resource_name",
        "resource_name and model_slug do not go together",
    ),
    (
        json.dumps([DEPLOYMENT | {"resource_type": CANARY}]),
        "key[0].resource_type",
        "resource_type and model_slug do not go together",
    ),
    (
        resource(region=CANARY),
        "key.region",
        "region is unknown; the fields are api_key, resource_n",
    ),
    (resource(**{CANARY: CANARY}), "key", "a field that is unknown"),
    (resource(AbCdEfGhIj="x"), "key", "a field that is unknown"),
    (resource(resource_name=None), "key.resource_name", "resource_name must be a string"),
    (resource(resource_name=""), "key.resource_name", "1 to 63 letters, digits and inner dashes"),
    (resource(resource_name="-a"), "key.resource_name", "1 to 63 letters, digits and inner dashes"),
    (resource(resource_name="a_b"), "key.resource_name", "1 to 63 letters, digits and inner"),
    (resource(resource_name="a" * 64), "key.resource_name", "1 to 63 letters, digits and inner"),
    (resource(resource_name="a@evil"), "key.resource_name", "1 to 63 letters, digits and inner"),
    (resource(resource_name="a:443#"), "key.resource_name", "1 to 63 letters, digits and inner"),
    (resource(resource_name="ré"), "key.resource_name", "1 to 63 letters, digits and inner"),
    (resource(resource_name="İ"), "key.resource_name", "1 to 63 letters, digits and inner"),
    (
        resource(resource_name="my-resource.openai.azure.com"),
        "key.resource_name",
        "without https:// and without what follows",
    ),
    (
        resource(resource_name=f"https://{CANARY}"),
        "key.resource_name",
        "without https:// and without what follows",
    ),
    (resource(resource_name="evil.example/"), "key.resource_name", "without https://"),
    (resource(resource_type="foundry"), "key.resource_type", "must be openai (for"),
    (resource(resource_type=CANARY), "key.resource_type", "must be openai (for"),
    (resource(resource_type=["openai"]), "key.resource_type", "resource_type must be a string"),
    (resource(api_key=""), "key.api_key", "The key is empty"),
    (resource(api_key=f"{CANARY} {CANARY}"), "key.api_key", "white space inside"),
    (resource(api_key=json.dumps({"a": CANARY})), "key.api_key", "put the key alone here"),
    (
        json.dumps([RESOURCE, DEPLOYMENT, RESOURCE]),
        "key[2].resource_name",
        "The resource of key[0] is here again",
    ),
    (
        json.dumps([RESOURCE, RESOURCE | {"resource_name": "MY-Resource"}]),
        "key[1].resource_name",
        "The resource of key[0] is here again",
    ),
    (
        json.dumps([RESOURCE, RESOURCE | {"resource_type": "ai_foundry"}]),
        "key[1].resource_name",
        "The resource of key[0] is here again",
    ),
]


@pytest.mark.parametrize(("pasted", "field", "message"), BAD_RESOURCES)
def test_each_mistake_in_an_azure_resource_is_named_with_its_place(
    pasted: str, field: str, message: str
) -> None:
    check_refusal("azure", pasted, field, message)


@pytest.mark.parametrize(("pasted", "field", "message"), BAD_AZURE)
def test_each_mistake_in_an_azure_key_is_named_with_its_place(
    pasted: str, field: str, message: str
) -> None:
    check_refusal("azure", pasted, field, message)


@pytest.mark.parametrize(("url", "message"), BAD_URLS.items())
def test_each_mistake_in_an_endpoint_url_is_named_without_repeating_it(
    url: str, message: str
) -> None:
    check_refusal("azure", with_url(url), "key.endpoint_url", message)


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

    assert (single.secret, single.label) == (several.secret, "...cdef")
    assert single.deployments == several.deployments


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [
        ({}, "openai"),
        ({"resource_type": "openai"}, "openai"),
        ({"resource_type": "ai_foundry"}, "ai_foundry"),
    ],
)
def test_a_whole_resource_is_taken_by_its_name_alone(given_type: dict[str, str], kept: str) -> None:
    parsed = taken("azure", resource(resource_name="My-Resource", **given_type))

    assert isinstance(parsed.secret, AzureSecret)
    assert parsed.secret.deployments == []
    assert [
        (each.resource_name, each.resource_type, each.api_key) for each in parsed.secret.resources
    ] == [("my-resource", kept, RESOURCE["api_key"])]
    assert parsed.deployments == ()
    assert parsed.resources == (Resource(resource_name="my-resource"),)
    assert parsed.label == "...3210"
    assert parsed.named_models == ()


def test_deployments_and_resources_may_stand_in_one_array() -> None:
    other = DEPLOYMENT | {"model_slug": "a/b", "model_id": "b"}

    parsed = taken("azure", json.dumps([DEPLOYMENT, RESOURCE, other]))

    assert isinstance(parsed.secret, AzureSecret)
    assert msgspec.to_builtins(parsed.secret.deployments) == [DEPLOYMENT, other]
    assert parsed.secret.resources == [AzureResourceSecret(resource_type="openai", **RESOURCE)]
    assert parsed.deployments == (
        Deployment(model_slug="openai/gpt-4o", model_id="gpt-4o"),
        Deployment(model_slug="a/b", model_id="b"),
    )
    assert parsed.resources == (Resource(resource_name="my-resource"),)
    assert parsed.label == "...cdef (+2)"
    assert parsed.named_models == (
        NamedModel(slug="openai/gpt-4o", field="key[0].model_slug"),
        NamedModel(slug="a/b", field="key[2].model_slug"),
    )


KNOWN = frozenset({"openai/gpt-4o", "openai/gpt-4o-mini", "mistralai/mistral-large"})


@pytest.mark.parametrize(
    ("slug", "message"),
    [
        ("openai/gpt-4", "did you mean openai/gpt-4o or openai/gpt-4o-mini"),
        ("mistral/mistral-large", "did you mean mistralai/mistral-large"),
        ("OpenAI/GPT-4o", "did you mean openai/gpt-4o"),
        (f"zz/{CANARY}", "GET /api/v1/models lists them"),
    ],
)
def test_a_model_that_the_catalog_has_not_is_refused_with_the_nearest(
    slug: str, message: str
) -> None:
    parsed = taken("azure", json.dumps([DEPLOYMENT, DEPLOYMENT | {"model_slug": slug}]))

    refused = unknown_model(parsed.named_models, KNOWN)

    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", "key[1].model_slug")
    assert message in refused.message
    assert CANARY not in refused.message


def test_models_of_the_catalog_pass() -> None:
    assert unknown_model(taken("azure", azure()).named_models, KNOWN) is None
    assert unknown_model((), frozenset()) is None


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


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_json_makes_the_azure_format_fail(value: Any) -> None:
    assert isinstance(parse("azure", json.dumps(value)), ParsedSecret | Refused)
    assert isinstance(parse("azure", json.dumps([value, DEPLOYMENT])), Refused)
