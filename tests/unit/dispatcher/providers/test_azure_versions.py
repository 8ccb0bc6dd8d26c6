"""Which Azure addresses are asked for usage in streams."""

import pytest

from services.dispatcher.outbound.providers.azure import takes_stream_options

_HOST = "https://example.openai.azure.com/openai/deployments/gpt-4o/chat/completions"


@pytest.mark.parametrize(
    ("query", "takes"),
    [
        ("?api-version=2024-08-01-preview", True),
        ("?api-version=2024-08-01", True),
        ("?api-version=2025-01-01-preview", True),
        ("?api-version=2024-07-01-preview", False),
        ("?api-version=2024-05-01-preview", False),
        ("?api-version=2023-05-15", False),
        ("?x=1&api-version=2023-05-15", False),
        ("?api-version=preview", True),
        ("", True),
    ],
)
def test_versions_that_know_stream_options_are_told_apart(query: str, takes: bool) -> None:  # noqa: FBT001
    assert takes_stream_options(_HOST + query) is takes
