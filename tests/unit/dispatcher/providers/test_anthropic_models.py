"""Which Claude a provider's name means, on Anthropic and elsewhere."""

import pytest

from services.dispatcher.outbound.providers.anthropic.models import claude


@pytest.mark.parametrize(
    ("name", "family", "version"),
    [
        ("claude-3-haiku-20240307", "haiku", (3, 0)),
        ("claude-3-7-sonnet-20250219", "sonnet", (3, 7)),
        ("claude-sonnet-4-20250514", "sonnet", (4, 0)),
        ("claude-opus-4-1-20250805", "opus", (4, 1)),
        ("claude-sonnet-4-5@20250929", "sonnet", (4, 5)),
        ("us.anthropic.claude-opus-4-6-v1:0", "opus", (4, 6)),
        ("claude-opus-5-5", "opus", (5, 5)),
        ("claude-sonnet-5", "sonnet", (5, 0)),
        ("claude-mythos-preview", "", (99, 0)),
    ],
)
def test_a_name_says_family_and_version(name: str, family: str, version: tuple[int, int]) -> None:
    model = claude(name)
    assert (model.family, model.version) == (family, version)


@pytest.mark.parametrize(
    ("name", "thinking", "samples", "effort"),
    [
        ("claude-3-5-haiku-20241022", "none", "all", None),
        ("claude-haiku-4-5", "budget", "one", None),
        ("claude-opus-4-5", "budget", "one", "high"),
        ("claude-opus-4-6", "either", "one", "high"),
        ("claude-opus-4-7", "adaptive", "none", "xhigh"),
        ("claude-of-tomorrow", "adaptive", "none", "xhigh"),
    ],
)
def test_a_version_says_what_a_model_takes(
    name: str, thinking: str, samples: str, effort: str | None
) -> None:
    model = claude(name)
    assert (model.thinking, model.samples, model.effort("xhigh")) == (thinking, samples, effort)
    assert model.effort("minimal") == (None if effort is None else "low")
