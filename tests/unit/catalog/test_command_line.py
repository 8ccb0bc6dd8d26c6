"""The command as people and the stack call it."""

import subprocess
import sys
from pathlib import Path

from tests.unit.catalog.conftest import Model, WriteModel

ROOT = Path(__file__).parents[3]
CATALOG = ROOT / "deploy" / "catalog"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.catalog", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_check_says_that_all_is_well() -> None:
    done = run("check")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"catalog: {len(list(CATALOG.glob('*.yaml')))} models, no problems\n"


def test_check_lists_problems_and_exits_2(good_model: Model, write_model: WriteModel) -> None:
    good_model["created"] = 1.5
    good_model["colour"] = "green"
    done = run("check", "--folder", str(write_model(good_model)))

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert "parrot.yaml: created: must be a whole number, not a float" in done.stderr


def test_publish_without_kafka_says_what_is_missing() -> None:
    done = run("publish")

    assert done.returncode == 2
    assert "--kafka HOST:PORT" in done.stderr
