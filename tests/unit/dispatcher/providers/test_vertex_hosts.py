"""Where a service account's access token may go."""

import msgspec
import pytest

from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.outbound.providers.vertex.hosts import Place, host_of, place_of
from tests.contract.providers.builders import vertex_secret


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("europe-west12", "europe-west12-aiplatform.googleapis.com"),
        ("northamerica-northeast1", "northamerica-northeast1-aiplatform.googleapis.com"),
        ("asia", None),
        ("", None),
        ("US-central1", None),
        ("us-central1\n", None),
        ("evil.example/us-central1", None),
        ("us-central1.evil.example#", None),
        ("a@evil.example:443/", None),
    ],
)
def test_a_region_names_its_host_or_none(region: str, host: str | None) -> None:
    assert host_of(region) == host
    place = place_of(vertex_secret(region=region), base_url=None)
    if host is None:
        assert isinstance(place, ProviderFailure)
        assert place.code == "credential_shape"
    else:
        assert isinstance(place, Place)
        assert place.hosts == {f"{host}:443"}
        assert place.base == f"https://{host}/v1/projects/my-project-123/locations/{region}"


@pytest.mark.parametrize("project", ["a/../../x", "x", "my-project-123/locations", "ünder", "a b"])
def test_a_project_that_is_none_makes_no_path(project: str) -> None:
    secret = msgspec.structs.replace(vertex_secret(), project_id=project)
    assert isinstance(place_of(secret, base_url=None), ProviderFailure)


def test_an_operators_address_stands_for_every_region() -> None:
    place = place_of(vertex_secret(region="eu"), base_url="http://127.0.0.1:9300/")
    assert isinstance(place, Place)
    assert place.hosts == {"127.0.0.1:9300"}
    assert place.model("google", "gemini-2.5-flash", "generateContent") == (
        "http://127.0.0.1:9300/v1/projects/my-project-123/locations/eu/publishers/google/models/"
        "gemini-2.5-flash:generateContent"
    )


def test_a_models_name_cannot_leave_its_place_in_the_path() -> None:
    place = place_of(vertex_secret(), base_url=None)
    assert isinstance(place, Place)
    assert place.model("anthropic", "claude-haiku-4-5@20251001", "rawPredict").endswith(
        "/publishers/anthropic/models/claude-haiku-4-5@20251001:rawPredict"
    )
    assert place.model("google", "../../x?y#z", "m").endswith("/models/..%2F..%2Fx%3Fy%23z:m")
