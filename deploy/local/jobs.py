"""Programs that the stack runs to their end: topics, catalog, operators' commands."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.environment import python
from deploy.local.errors import StackError
from deploy.local.places import REPOSITORY, Places

_DEADLINE_SECONDS = 60.0
_LINE_CHARACTERS_MAX = 300


def run_job(
    places: Places, *, name: str, module: Sequence[str], environment: Mapping[str, str]
) -> str:
    """Run `python -m module...`; its complaints go to the log `name`, its output is returned.

    Raises:
        StackError: it ended with another code than 0, or not at all.
    """
    log = places.log(name)
    with log.open("ab") as complaints:
        begun = complaints.tell()
        try:
            done = subprocess.run(
                [python(), "-m", *module],
                env=dict(environment),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                timeout=_DEADLINE_SECONDS,
                check=False,
                text=True,
            )
        except subprocess.TimeoutExpired as error:
            raise StackError(f"{name} takes over {_DEADLINE_SECONDS:.0f} s", log=log) from error
    if done.returncode != 0:
        why = _last_line(log, begun) or f"ended with exit code {done.returncode}"
        raise StackError(f"{name}: {why}", log=log)
    return done.stdout


def _last_line(log: Path, begun: int) -> str:
    """The last thing that was written to the log since `begun`."""
    with log.open("rb") as complaints:
        complaints.seek(begun)
        lines = complaints.read().decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:_LINE_CHARACTERS_MAX] if said else ""
