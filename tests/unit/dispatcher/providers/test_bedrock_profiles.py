"""Under which id a model is called from which region."""

import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.outbound.providers.bedrock.profiles import model_id
from tests.contract.providers.builders import attempt

_ALL = ("us", "eu", "jp", "au", "apac", "global")


def _id(
    region: str, profiles: tuple[str, ...] = (), regions: tuple[str, ...] = ()
) -> str | ProviderFailure:
    to = attempt(
        "amazon-bedrock", provider_model="maker.m", inference_profiles=profiles, regions=regions
    )
    return model_id(to.endpoint, region)


@pytest.mark.parametrize(
    ("region", "profiles", "found"),
    [
        ("us-east-1", _ALL, "us.maker.m"),
        ("ca-central-1", _ALL, "us.maker.m"),
        ("ca-central-1", ("ca", "us"), "ca.maker.m"),
        ("eu-north-1", _ALL, "eu.maker.m"),
        ("ap-northeast-1", _ALL, "jp.maker.m"),
        ("ap-northeast-1", ("us", "apac"), "apac.maker.m"),
        ("ap-southeast-2", _ALL, "au.maker.m"),
        ("ap-south-1", _ALL, "apac.maker.m"),
        ("sa-east-1", _ALL, "global.maker.m"),
        ("eu-west-1", ("us", "global"), "global.maker.m"),
        ("us-east-1", (), "maker.m"),
    ],
)
def test_the_regions_own_profile_goes_before_the_global_one(
    region: str, profiles: tuple[str, ...], found: str
) -> None:
    assert _id(region, profiles) == found


@pytest.mark.parametrize(
    ("region", "profiles", "regions"),
    [
        ("eu-west-1", ("us",), ()),
        ("us-gov-west-1", _ALL, ()),
        ("cn-north-1", ("global",), ()),
        ("eu-west-1", _ALL, ("us-east-1",)),
        ("eu-west-1", (), ("us-east-1",)),
    ],
)
def test_a_region_that_does_not_serve_the_model_is_told(
    region: str, profiles: tuple[str, ...], regions: tuple[str, ...]
) -> None:
    failure = _id(region, profiles, regions)
    assert isinstance(failure, ProviderFailure)
    assert failure.failure is FailureClass.MISCONFIGURED
    assert region in (failure.raw or "")


def test_a_region_that_is_listed_serves_the_model_by_its_own_id() -> None:
    assert _id("sa-east-1", ("us",), ("us-east-1", "sa-east-1")) == "maker.m"
