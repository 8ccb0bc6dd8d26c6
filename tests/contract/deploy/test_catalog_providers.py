"""Every endpoint of the shipped catalog is at a provider that the dispatcher can call."""

import re
from pathlib import Path
from typing import Final

import pytest

from deploy.catalog.load import load_folder
from services.dispatcher.outbound.providers.bedrock.embeddings import Family, family_of
from services.dispatcher.outbound.providers.openai_compatible import ProviderRow
from services.dispatcher.outbound.providers.registry import ROWS, SLUGS
from tests.simulator.anthropic_models import MODELS
from tests.simulator.gemini_models import GEMINIS
from tests.simulator.vertex_claude import claude_of

CATALOG: Final = Path(__file__).parents[3] / "deploy" / "catalog"
LISTED: Final = load_folder(CATALOG, version=1)


def test_every_endpoints_provider_has_an_adapter() -> None:
    unknown = {
        (model.slug, endpoint.provider)
        for model in LISTED
        for endpoint in model.endpoints
        if endpoint.provider not in SLUGS
    }

    assert not unknown


def test_every_provider_that_sells_models_of_its_own_lists_one() -> None:
    listed = {endpoint.provider for model in LISTED for endpoint in model.endpoints}

    assert SLUGS - listed == {"openrouter"}


def test_there_are_dozens_of_models_and_several_providers_for_many() -> None:
    chatting = [model for model in LISTED if not model.capabilities.embeds]

    assert len(chatting) >= 40
    assert len([model for model in chatting if len(model.endpoints) > 1]) >= 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_a_row_and_the_catalog_call_a_provider_the_same(row: ProviderRow) -> None:
    names = {
        endpoint.provider_name
        for model in LISTED
        for endpoint in model.endpoints
        if endpoint.provider == row.slug
    }

    assert names <= {row.name}


def test_each_file_says_where_its_prices_come_from_and_when() -> None:
    for file in CATALOG.glob("*.yaml"):
        comment = [line for line in file.read_text("utf-8").splitlines() if line.startswith("#")]
        assert re.search(r"\b[A-Z][a-z]+ 20\d{2}\b", " ".join(comment)), file.name


def test_the_simulator_knows_every_model_that_the_catalog_has_at_vertex_and_anthropic() -> None:
    at = {(each.provider, each.api, each.model) for model in LISTED for each in model.endpoints}
    claudes = {name for provider, _, name in at if provider == "anthropic"}
    on_vertex = {name for _, api, name in at if api == "anthropic"}
    geminis = {name for _, api, name in at if api == "gemini" and "embedding" not in name}

    assert claudes - MODELS.keys() == set()
    assert {claude_of(name) for name in on_vertex} - MODELS.keys() == set()
    assert geminis - GEMINIS.keys() == set()


def test_models_that_embed_are_listed_where_an_adapter_embeds() -> None:
    embedders = {row.slug for row in ROWS if row.embeddings is not None}
    listed = {
        endpoint.provider
        for model in LISTED
        if model.capabilities.embeds
        for endpoint in model.endpoints
    }

    assert listed <= embedders | {"azure", "amazon-bedrock", "google-vertex"}
    for model in LISTED:
        for endpoint in model.endpoints if model.capabilities.embeds else ():
            if endpoint.provider == "amazon-bedrock":
                assert isinstance(family_of(endpoint.model), Family)
            if endpoint.provider == "google-vertex":
                assert endpoint.api == "gemini"
