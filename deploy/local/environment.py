"""What every child process inherits: nothing but what programs need to run at all."""

import os
import sys
from pathlib import Path

_INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ")


def bare_environment() -> dict[str, str]:
    """The few variables that are passed on; secrets and proxies of the caller are not among them."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}  # noqa: TID251  # the one reading of the stack's own surroundings


def python_environment(repository: Path) -> dict[str, str]:
    """What a Python process of this repository needs besides."""
    return {**bare_environment(), "PYTHONPATH": str(repository), "PYTHONUNBUFFERED": "1"}


def python() -> str:
    """The interpreter of the virtualenv that runs the stack."""
    return sys.executable
