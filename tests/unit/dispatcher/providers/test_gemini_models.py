"""What each generation of Gemini takes, as Google's documentation says."""

import pytest

from services.dispatcher.domain.conversation import Effort
from services.dispatcher.outbound.providers.vertex.gemini_models import gemini


@pytest.mark.parametrize(
    ("name", "thinking", "stops", "budgets"),
    [
        ("gemini-2.0-flash-001", "none", True, None),
        ("gemini-2.5-pro", "budget", False, (128, 32_768)),
        ("gemini-2.5-flash", "budget", True, (1, 24_576)),
        ("gemini-2.5-flash-lite", "budget", True, (512, 24_576)),
        ("gemini-3-pro-preview", "level", False, None),
        ("gemini-3.8-flash", "level", False, None),
        ("gemini-4-ultra", "level", False, None),
        ("of-tomorrow", "level", False, None),
    ],
)
def test_thinking_is_asked_for_as_the_generation_wants_it(
    name: str, thinking: str, *, stops: bool, budgets: tuple[int, int] | None
) -> None:
    model = gemini(name)
    assert (model.thinking, model.stops_thinking) == (thinking, stops)
    if budgets is not None:
        assert model.budgets == budgets


@pytest.mark.parametrize(
    ("name", "effort", "level"),
    [
        ("gemini-3-pro-preview", "minimal", "LOW"),
        ("gemini-3-pro-preview", "medium", "HIGH"),
        ("gemini-3.1-pro-preview", "medium", "MEDIUM"),
        ("gemini-3.1-pro-preview", "none", "LOW"),
        ("gemini-3-flash-preview", "none", "MINIMAL"),
        ("gemini-3-flash-preview", "medium", "MEDIUM"),
        ("gemini-3.5-flash-lite", "max", "HIGH"),
    ],
)
def test_an_effort_becomes_the_nearest_level(name: str, effort: Effort, level: str) -> None:
    assert gemini(name).level(effort) == level
