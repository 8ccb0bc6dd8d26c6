"""What the catalog's reader accepts, and how it words what it does not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator

from deploy.catalog.load import CatalogProblems, load_folder
from shared.events.usage import LongPromptPrices, Prices
from tests.unit.catalog.conftest import Model, WriteModel

CATALOG = Path(__file__).parents[3] / "deploy" / "catalog"
SCHEMA = msgspec.json.decode((CATALOG / "model.schema.json").read_bytes())

Change = Callable[[Any], object]


def problems_of(folder: Path) -> list[str]:
    with pytest.raises(CatalogProblems) as caught:
        load_folder(folder, version=1)
    return [str(problem) for problem in caught.value.problems]


def fits_schema(model: object) -> bool:
    return Draft202012Validator(SCHEMA).is_valid(model)


def first_prices(model: Model) -> dict[str, Any]:
    prices: dict[str, Any] = model["endpoints"][0]["prices"]
    return prices


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", sorted(CATALOG.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_of_the_catalog_fits_the_schema(path: Path) -> None:
    problems = Draft202012Validator(SCHEMA).iter_errors(yaml.safe_load(path.read_text()))

    assert [f"{problem.json_path}: {problem.message}" for problem in problems] == []


def test_the_catalog_lists_models_at_their_list_prices() -> None:
    models = {model.slug: model for model in load_folder(CATALOG, version=7)}
    found = {
        (slug, endpoint.provider): (endpoint.prices, endpoint.byok_only)
        for slug, model in models.items()
        for endpoint in model.endpoints
    }
    gpt_4o = Prices(prompt=2_500_000, completion=10_000_000, input_cache_read=1_250_000)
    mini = Prices(prompt=150_000, completion=600_000, input_cache_read=75_000)
    mistral = Prices(prompt=2_000_000, completion=6_000_000)
    haiku = Prices(
        prompt=1_000_000,
        completion=5_000_000,
        input_cache_read=100_000,
        input_cache_write=1_250_000,
    )

    assert (
        found.items()
        >= {
            ("openai/gpt-4o", "openai"): (gpt_4o, False),
            ("openai/gpt-4o", "azure"): (gpt_4o, True),
            ("openai/gpt-4o-mini", "openai"): (mini, False),
            ("openai/gpt-4o-mini", "azure"): (mini, True),
            ("mistralai/mistral-large", "mistral"): (mistral, False),
            ("mistralai/mistral-large", "azure"): (mistral, True),
            ("anthropic/claude-haiku-4.5", "anthropic"): (haiku, False),
            ("anthropic/claude-haiku-4.5", "amazon-bedrock"): (haiku, False),
            ("anthropic/claude-haiku-4.5", "google-vertex"): (haiku, False),
        }.items()
    )
    assert {model.version for model in models.values()} == {7}


@pytest.mark.parametrize("path", sorted(CATALOG.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_is_named_by_its_slug_and_says_where_its_prices_are_from(path: Path) -> None:
    text = path.read_text()

    assert path.stem == yaml.safe_load(text)["slug"].replace("/", "-")
    comment = text[: text.index("slug:")]
    assert "rices:" in comment
    assert re.search(r"\b20\d\d\b", comment), "no date"


def test_a_good_file_becomes_an_event_with_exact_prices(
    good_model: Model, write_model: WriteModel
) -> None:
    [model] = load_folder(write_model(good_model), version=3)

    assert fits_schema(good_model)
    assert (model.slug, model.version) == ("acme/parrot-1", 3)
    assert model.capabilities.supported_parameters == ["max_tokens", "temperature"]
    assert [endpoint.provider for endpoint in model.endpoints] == ["acme", "azure"]
    assert [endpoint.byok_only for endpoint in model.endpoints] == [False, True]
    assert model.endpoints[1].prices == Prices(
        prompt=1, completion=1_000_000_000_000, request=500_000_000_000
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda model: first_prices(model).update(prompt=0.0000025),
            "parrot.yaml: endpoints[0].prices.prompt: must be USD per token as a decimal text in "
            'quotes, such as "0.0000025", not a float',
            id="float price",
        ),
        pytest.param(
            lambda model: first_prices(model).update(completion="-0.1"),
            "parrot.yaml: endpoints[0].prices.completion: -0.1 must not be negative "
            "(12 places are kept)",
            id="negative price",
        ),
        pytest.param(
            lambda model: first_prices(model).update(input_cache_read="0.0000000000001"),
            "parrot.yaml: endpoints[0].prices.input_cache_read: 0.0000000000001 has more decimal "
            "places than can be kept (12 places are kept)",
            id="too many decimals",
        ),
        pytest.param(
            lambda model: first_prices(model).update(prompt="2.5e-6"),
            "parrot.yaml: endpoints[0].prices.prompt: must be plain digits such as "
            "\"0.0000025\", not '2.5e-6'",
            id="exponent",
        ),
        pytest.param(
            lambda model: first_prices(model).update(cached="0.1"),
            "parrot.yaml: endpoints[0].prices.cached: is not a known field (known here: "
            "completion, input_cache_read, input_cache_write, long_prompt, prompt, request)",
            id="unknown field in prices",
        ),
        pytest.param(
            lambda model: model["endpoints"][1].update(zone="eu"),
            "parrot.yaml: endpoints[1].zone: is not a known field (known here: api, byok_only, "
            "context_length_tokens, inference_profiles, model, output_tokens_max, prices, provider, "
            "provider_name, regions)",
            id="unknown field in endpoint",
        ),
        pytest.param(
            lambda model: model.pop("name"), "parrot.yaml: name: is missing", id="missing field"
        ),
        pytest.param(
            lambda model: model.update(slug="Parrot"),
            "parrot.yaml: slug: 'Parrot' is not of the form 'author/model'",
            id="slug without author",
        ),
        pytest.param(
            lambda model: model.update(created="2024-05-13"),
            "parrot.yaml: created: must be a whole number, not a text",
            id="created as text",
        ),
        pytest.param(
            lambda model: model.update(output_tokens_max=0),
            "parrot.yaml: output_tokens_max: must be from 1 to 100000000",
            id="no tokens",
        ),
        pytest.param(
            lambda model: model["endpoints"][0].update(byok_only="yes"),
            "parrot.yaml: endpoints[0].byok_only: must be true or false, not a text",
            id="flag as text",
        ),
        pytest.param(
            lambda model: model["endpoints"].clear(),
            "parrot.yaml: endpoints: must be a list of at least one mapping, "
            "not such a list of nothing",
            id="no endpoints",
        ),
        pytest.param(
            lambda model: model["capabilities"].update(input_modalities=["text", "text"]),
            "parrot.yaml: capabilities.input_modalities: names something twice",
            id="modality twice",
        ),
        pytest.param(
            lambda model: model["endpoints"][0].update(provider="google-vertex"),
            "parrot.yaml: endpoints[0].api: is missing, which google-vertex needs",
            id="vertex without api",
        ),
        pytest.param(
            lambda model: model["endpoints"][0].update(provider="google-vertex", api="grpc"),
            "parrot.yaml: endpoints[0].api: must be one of gemini, anthropic, openai",
            id="unknown api",
        ),
        pytest.param(
            lambda model: model["endpoints"][0].update(api="gemini"),
            "parrot.yaml: endpoints[0].api: belongs to google-vertex alone",
            id="api elsewhere",
        ),
        pytest.param(
            lambda model: model["endpoints"][0].update(
                provider="amazon-bedrock", inference_profiles=["us", "mars"]
            ),
            "parrot.yaml: endpoints[0].inference_profiles[1]: must be one of us, eu, apac, jp, au, "
            "ca, global",
            id="unknown profile",
        ),
        pytest.param(
            lambda model: model["endpoints"][0].update(inference_profiles=["us"]),
            "parrot.yaml: endpoints[0].inference_profiles: belongs to amazon-bedrock alone",
            id="profiles elsewhere",
        ),
        pytest.param(
            lambda model: model["endpoints"][0].update(regions=["us-central1", "US"]),
            "parrot.yaml: endpoints[0].regions[1]: 'US' is not of the form 'us-central1'",
            id="region of another form",
        ),
        pytest.param(
            lambda model: model.update(capabilities="many"),
            "parrot.yaml: capabilities: must be a mapping, not a text",
            id="capabilities as text",
        ),
    ],
)
def test_a_bad_file_is_refused_by_reader_and_schema_alike(
    good_model: Model, write_model: WriteModel, change: Change, expected: str
) -> None:
    change(good_model)

    assert problems_of(write_model(good_model)) == [expected]
    assert not fits_schema(good_model)


LONG_PROMPT = {
    "above_tokens": 4_000,
    "prompt": "0.000005",
    "completion": "0.00002",
    "input_cache_read": "0.0000025",
}


def test_longer_prompts_may_cost_more(good_model: Model, write_model: WriteModel) -> None:
    first_prices(good_model)["long_prompt"] = LONG_PROMPT

    [model] = load_folder(write_model(good_model), version=1)

    assert fits_schema(good_model)
    assert model.endpoints[0].prices.long_prompt == LongPromptPrices(
        above_tokens=4_000, prompt=5_000_000, completion=20_000_000, input_cache_read=2_500_000
    )


@pytest.mark.parametrize(
    ("change", "expected", "fits"),
    [
        (
            {"prompt": "0.000001"},
            ["prompt: must not be below the price of shorter prompts"],
            True,
        ),
        (
            {"input_cache_read": None},
            ["input_cache_read: must be there exactly where prices have it"],
            False,
        ),
        (
            {"input_cache_write": "0.00001"},
            ["input_cache_write: must be there exactly where prices have it"],
            True,
        ),
        ({"above_tokens": 0}, ["above_tokens: must be from 1 to 100000000"], False),
        ({"above_tokens": None}, ["above_tokens: is missing"], False),
        (
            {"from": 1},
            [
                (
                    "from: is not a known field (known here: above_tokens, completion, "
                    "input_cache_read, input_cache_write, prompt)"
                )
            ],
            False,
        ),
    ],
)
def test_prices_of_longer_prompts_that_a_hold_could_not_rely_on_are_refused(
    good_model: Model,
    write_model: WriteModel,
    change: dict[str, object],
    expected: list[str],
    *,
    fits: bool,
) -> None:
    first_prices(good_model)["long_prompt"] = LONG_PROMPT | change

    problems = problems_of(write_model(good_model))

    assert problems == [f"parrot.yaml: endpoints[0].prices.long_prompt.{line}" for line in expected]
    assert fits_schema(good_model) is fits


def test_a_model_that_embeds_charges_for_the_prompt_alone(
    good_model: Model, write_model: WriteModel
) -> None:
    good_model["capabilities"]["output_modalities"] = ["embeddings"]

    problems = problems_of(write_model(good_model))

    assert problems == [
        "parrot.yaml: output_tokens_max: must be from 0 to 0",
        'parrot.yaml: endpoints[0].prices.completion: must be "0" where a model embeds',
        "parrot.yaml: endpoints[0].output_tokens_max: must be from 0 to 0",
        'parrot.yaml: endpoints[1].prices.completion: must be "0" where a model embeds',
        "parrot.yaml: endpoints[1].output_tokens_max: must be from 0 to 0",
    ]
    assert not fits_schema(good_model)
    for part in (good_model, *good_model["endpoints"]):
        part["output_tokens_max"] = 0
    for endpoint in good_model["endpoints"]:
        endpoint["prices"]["completion"] = "0"
    [model] = load_folder(write_model(good_model), version=1)
    assert fits_schema(good_model)
    assert model.capabilities.embeds

    good_model["capabilities"]["output_modalities"] = ["embeddings", "text"]
    assert problems_of(write_model(good_model)) == [
        "parrot.yaml: capabilities.output_modalities: embeddings stands alone"
    ]
    assert not fits_schema(good_model)


def test_an_answer_longer_than_the_context_is_refused(
    good_model: Model, write_model: WriteModel
) -> None:
    good_model["endpoints"][0]["output_tokens_max"] = 8_001

    assert problems_of(write_model(good_model)) == [
        "parrot.yaml: endpoints[0].output_tokens_max: must not be above context_length_tokens"
    ]


def test_the_same_endpoint_twice_is_refused(good_model: Model, write_model: WriteModel) -> None:
    good_model["endpoints"].append(good_model["endpoints"][0])

    assert problems_of(write_model(good_model)) == [
        "parrot.yaml: endpoints[2].model: 'parrot-1-large' at 'acme' is listed twice"
    ]


def test_two_files_with_one_slug_are_refused(good_model: Model, write_model: WriteModel) -> None:
    write_model(good_model, "a.yaml")

    assert problems_of(write_model(good_model, "b.yaml")) == [
        "b.yaml: slug: 'acme/parrot-1' is already listed by a.yaml"
    ]


def test_all_problems_of_all_files_are_told_at_once(
    good_model: Model, write_model: WriteModel
) -> None:
    write_model({"slug": 5}, "a.yaml")
    del good_model["created"]
    first_prices(good_model)["prompt"] = 1
    folder = write_model(good_model, "b.yaml")
    (folder / "c.yaml").write_text("slug: [")

    problems = problems_of(folder)

    assert [line.split(":")[0] for line in problems] == ["a.yaml"] * 8 + ["b.yaml"] * 2 + ["c.yaml"]
    assert problems[0] == "a.yaml: slug: must be a text that is not empty, not a number"
    assert problems[-1].startswith("c.yaml: cannot be read: ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- a\n- b\n", "x.yaml: must be a mapping of fields"),
        ("", "x.yaml: must be a mapping of fields"),
        ("slug: a/b\nslug: c/d\n", "the key 'slug' stands here twice"),
        ("slug: !!python/object:os.system {}\n", "x.yaml: cannot be read: could not determine"),
    ],
)
def test_a_file_that_is_no_clean_mapping_is_refused(
    tmp_path: Path, content: str, expected: str
) -> None:
    (tmp_path / "x.yaml").write_text(content)

    [problem] = problems_of(tmp_path)

    assert expected in problem


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == [f"{tmp_path}: has no *.yaml file"]
    assert problems_of(tmp_path / "none") == [f"{tmp_path / 'none'}: is not a folder"]
