"""The header that names Anthropic's beta features."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.domain.anthropic_betas import BETAS_MAX, CHARACTERS_MAX, read_betas
from services.ingress.domain.refusals import Refusal


@pytest.mark.parametrize(
    ("lines", "betas"),
    [
        ([], []),
        (["", " , "], []),
        (["context-1m-2025-08-07"], ["context-1m-2025-08-07"]),
        (
            [" claude-code-20250219,context-1m-2025-08-07 ", "claude-code-20250219"],
            ["claude-code-20250219", "context-1m-2025-08-07"],
        ),
    ],
)
def test_names_are_taken_each_once(lines: list[str], betas: list[str]) -> None:
    assert read_betas(lines) == betas


@pytest.mark.parametrize(
    "wrong",
    [
        "context-1m",
        "Context-1m-2025-08-07",
        "context_1m-2025-08-07",
        "context-1m-2025-08-07\r\nx-api-key: other",
        "2025-08-07",
        "-a-2025-08-07",
        "a b-2025-08-07",
        "a-2025-08-07;q=1",
        "a" * CHARACTERS_MAX + "-2025-08-07",
        ",".join(f"a{number}-2025-08-07" for number in range(BETAS_MAX + 1)),
    ],
)
def test_anything_else_is_refused(wrong: str) -> None:
    refusal = read_betas([wrong])
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.field) == (400, "x-anthropic-beta")


@given(st.lists(st.text(max_size=80), max_size=20))
def test_whatever_is_taken_fits_a_header_of_its_own(lines: list[str]) -> None:
    betas = read_betas(lines)
    if not isinstance(betas, Refusal):
        assert len(betas) <= BETAS_MAX
        assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in betas)
