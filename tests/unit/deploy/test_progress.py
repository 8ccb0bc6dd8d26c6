"""What long commands show where there is no terminal."""

import io

import pytest

from deploy.local.progress import Progress


def test_a_count_ends_with_a_line_that_says_how_far_it_came() -> None:
    output = io.StringIO()
    with Progress(output) as progress, progress.count("rewrapping") as show:
        show(64, 10_000)
        show(10_000, 10_000)
    assert output.getvalue().split() == ["rewrapping", "10,000", "of", "10,000", "0.0", "s"]


def test_a_count_that_is_broken_off_says_so_too() -> None:
    output = io.StringIO()
    with pytest.raises(RuntimeError):
        _break_off(output)
    assert "64 of 10,000" in output.getvalue()


def _break_off(output: io.StringIO) -> None:
    with Progress(output) as progress, progress.count("rewrapping") as show:
        show(64, 10_000)
        raise RuntimeError
