"""Files that only their owner may read, written whole or not at all."""

import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PASSWORD_BYTES = 24


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a 0600 file with this text, atomically."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_private_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace `path` by a 0600 JSON file, atomically."""
    write_private(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, or None when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    value = json.loads(text)
    if not isinstance(value, dict):
        message = f"{path} should hold a JSON object"
        raise TypeError(message)
    return value


def password_in(path: Path) -> str:
    """The password kept in `path`; the first call makes one up."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        write_private(path, password)
        return password
