"""Rotates the keys of what is kept: a new version, every row rewrapped, old versions retired.

    python -m deploy.vault.rotation [--retire | --only-retire-aged]

Two rights take part, and neither opens anything. VAULT_TOKEN, the operator's, has the policy
`rotation`: it makes versions and retires them. key_vault's own settings, in the same environment,
are for its `rewrap`, which owns the rows. It may be stopped anywhere and run again: rows that are
left at an old version mean that a rotation is unfinished, and then it is finished first.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import hvac

from deploy.local.environment import python
from deploy.local.places import REPOSITORY
from deploy.local.progress import Progress
from deploy.vault.keys import LIVES, read_versions, retire_aged, retire_before, rotate

CREDENTIALS: Final = "credentials"
INTAKE: Final = "intake"
SETTLE_SECONDS: Final = 30.0
"""Between the last rewrap and retirement. A command that encrypted before the rotation has kept its
row by then, and a dispatcher that does not hear of new ciphertexts has stopped planning (15 s)."""
_REQUEST_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 10.0


class RotationError(Exception):
    """It cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrapped:
    """The last line of key_vault's `rewrap`."""

    version: int
    rewrapped: int
    left: int
    misfits: int


class Rotation:
    """One operator's run."""

    def __init__(
        self,
        vault: hvac.Client,
        *,
        key_vault: Mapping[str, str],
        progress: Progress,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        """`vault` has the policy `rotation`; `key_vault` is the environment of that service."""
        self._vault = vault
        self._key_vault = key_vault
        self._progress = progress
        self._settle_seconds = settle_seconds

    def run(self, *, retire: bool) -> None:
        """Rotate, rewrap and, where asked for, retire. Raises RotationError or what hvac raises."""
        unfinished = self._rewrap()
        if unfinished.rewrapped:
            self._refuse_misfits(unfinished)
            self._progress.line(f"finished the rotation to version {unfinished.version}")
        else:
            for key in (INTAKE, CREDENTIALS):
                self._progress.line(f"{key}: version {rotate(self._vault, key)} is the newest")
            self._refuse_misfits(self._rewrap())
        self.retire_aged()
        if retire:
            self._retire()

    def retire_aged(self) -> None:
        """Retire the versions of `intake` and `wire` that nothing can need any more."""
        for key in LIVES:
            oldest = retire_aged(self._vault, key, datetime.now(UTC))  # noqa: TID251  # a tool's own clock
            self._progress.line(f"{key}: opens from version {oldest} on")

    def _retire(self) -> None:
        with self._progress.step("settling", done="settled"):
            time.sleep(self._settle_seconds)
        before = read_versions(self._vault, CREDENTIALS).oldest_open
        rewrapped = self._rewrap()
        self._refuse_misfits(rewrapped)
        version = rewrapped.version
        retire_before(self._vault, CREDENTIALS, version)
        try:
            # changes nothing: a row that came in just then would no longer open
            self._refuse_misfits(self._rewrap())
        except RotationError:
            retire_before(self._vault, CREDENTIALS, before)
            raise
        self._progress.line(f"{CREDENTIALS}: opens from version {version} on")

    def _refuse_misfits(self, rewrapped: Rewrapped) -> None:
        if rewrapped.misfits:
            raise RotationError(f"{rewrapped.misfits} credentials do not open where they are kept")

    def _rewrap(self) -> Rewrapped:
        """Run key_vault's `rewrap` and show how far it is; all but misfits are at its version then."""
        process = subprocess.Popen(
            [python(), "-m", "services.key_vault.operations", "rewrap"],
            cwd=REPOSITORY,
            env=dict(self._key_vault),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            last = self._shown(process)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(_STOP_SECONDS)
        if last is None or (code != 0 and last.left > last.misfits):
            raise RotationError("not every credential could be rewrapped; see above, and run again")
        return last

    def _shown(self, process: subprocess.Popen[str]) -> Rewrapped | None:
        last: Rewrapped | None = None
        with self._progress.count("rewrapping") as show:
            for line in _lines(process):
                last = Rewrapped(**line)
                show(last.rewrapped, last.rewrapped + last.left)
        return last


def _lines(process: subprocess.Popen[str]) -> Iterator[Any]:
    if process.stdout is not None:
        with process.stdout as output:
            yield from map(json.loads, output)


def main(arguments: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run as a command; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.vault.rotation", description=__doc__)
    parser.add_argument("--retire", action="store_true", help="old ciphertexts open no more")
    parser.add_argument(
        "--only-retire-aged", action="store_true", help="only old versions of intake and wire"
    )
    given = parser.parse_args(arguments)
    address, token = environment.get("VAULT_ADDRESS"), environment.get("VAULT_TOKEN")
    if not address or not token:
        parser.error("VAULT_ADDRESS and VAULT_TOKEN are needed")
    # The operator's token is not key_vault's business.
    key_vault = {name: value for name, value in environment.items() if name != "VAULT_TOKEN"}
    vault = hvac.Client(url=address, token=token, timeout=_REQUEST_SECONDS)
    with Progress(sys.stdout) as progress:
        rotation = Rotation(vault, key_vault=key_vault, progress=progress)
        act: Callable[[], None] = (
            rotation.retire_aged
            if given.only_retire_aged
            else lambda: rotation.run(retire=given.retire)
        )
        try:
            act()
        except (RotationError, hvac.exceptions.VaultError, OSError) as error:
            progress.line(f"keys are not rotated to the end: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], environment=os.environ))  # noqa: TID251  # read once, here
