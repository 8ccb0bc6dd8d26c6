"""Each service's schema holds the same outbox and inbox: what shared/postgres works with."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
COPIES = sorted(
    (copy, REPOSITORY / "shared" / "postgres" / f"{name}.sql")
    for name in ("outbox", "inbox")
    for copy in REPOSITORY.glob(f"services/*/migrations/*_{name}.sql")
)


def statements(file: Path) -> str:
    """The SQL without comments and blank lines."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith("--"))


@pytest.mark.parametrize(
    ("copy", "original"), COPIES, ids=[str(copy.relative_to(REPOSITORY)) for copy, _ in COPIES]
)
def test_a_migration_copies_the_shared_table_exactly(copy: Path, original: Path) -> None:
    assert statements(copy) == statements(original), "add a migration, in every service"


def test_there_is_something_to_compare() -> None:
    assert len(COPIES) >= 3
