"""ARCHITECTURE.md leads to files and tests; each must be where it says."""

import re

import pytest

from deploy.local.places import REPOSITORY

TEXT = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)))
PATHS = sorted(set(re.findall(r"`((?:services|shared|deploy|docs|tests)/[\w/.\-]+)`", TEXT)))


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_a_test_that_holds_an_invariant_is_there(file: str, name: str) -> None:
    source = (REPOSITORY / "tests" / file).read_text(encoding="utf-8")

    assert re.search(rf"^(?:async )?def {name}\(", source, re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_there(path: str) -> None:
    assert (REPOSITORY / path).exists()


def test_there_are_invariants_and_paths() -> None:
    assert len(TESTS) > 100
    assert len(PATHS) > 20
