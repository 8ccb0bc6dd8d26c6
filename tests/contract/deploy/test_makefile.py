import re
import subprocess

from deploy.local.places import REPOSITORY

_MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # -n: nothing is run, so that this needs neither virtualenv nor stack.
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )


def _targets() -> set[str]:
    phony = re.findall(r"^\.PHONY: (.*)$", _MAKEFILE, flags=re.MULTILINE)
    return {name for line in phony for name in line.split()} - {"help"}


def test_bare_make_lists_every_target_with_a_sentence() -> None:
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", _make().stdout, flags=re.MULTILINE))

    assert set(listed) == _targets()


def test_a_missing_variable_is_named_with_an_example() -> None:
    refused = _make("-n", "credit", "ACCOUNT=acc-1")

    assert refused.returncode != 0
    assert "AMOUNT is missing: make credit ACCOUNT=01a2... AMOUNT=5.00" in refused.stderr
