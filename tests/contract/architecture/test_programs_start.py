"""Every module can be imported on this Python: also those that only a Make target ever runs."""

import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for folder in ("services", "shared", "deploy", "tests/bench", "tests/simulator")
    for path in (REPOSITORY / folder).rglob("*.py")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_imported(module: str) -> None:
    importlib.import_module(module)


def test_there_is_something_to_import() -> None:
    assert len(MODULES) > 350
