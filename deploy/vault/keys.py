"""Rotating Transit's keys and retiring their old versions, as an operator with the policy `rotation`.

A version that is retired opens nothing any more: `min_decryption_version` is above it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import hvac

_TRANSIT: Final = "transit"

LIVES: Final[Mapping[str, timedelta]] = {
    "intake": timedelta(hours=1),
    "wire": timedelta(hours=3),
}
"""How long after a version's last use something sealed with it may still have to be opened.

`intake`: a pasted key waits in `credentials.commands`, which keeps ten minutes. `wire`: an ingress
uses a data key for two hours at most, and what it sealed stays ten minutes in Kafka. Both topics let
go of a whole segment at a time, so twice as long.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """One key's versions."""

    newest: int
    oldest_open: int
    made_at: Mapping[int, datetime]


def read_versions(client: hvac.Client, key: str) -> Versions:
    """A key's versions. Raises what hvac raises."""
    data: dict[str, Any] = client.adapter.get(f"/v1/{_TRANSIT}/keys/{key}")["data"]
    return Versions(
        newest=data["latest_version"],
        oldest_open=data["min_decryption_version"],
        made_at={
            int(version): datetime.fromtimestamp(made_at, UTC)
            for version, made_at in data["keys"].items()
        },
    )


def rotate(client: hvac.Client, key: str) -> int:
    """Make a new version, with which everything is encrypted from now on; its number."""
    client.adapter.post(f"/v1/{_TRANSIT}/keys/{key}/rotate", json={})
    return read_versions(client, key).newest


def retire_before(client: hvac.Client, key: str, version: int) -> None:
    """Let nothing older than a version open any more."""
    client.adapter.post(
        f"/v1/{_TRANSIT}/keys/{key}/config", json={"min_decryption_version": version}
    )


def retire_aged(client: hvac.Client, key: str, now: datetime) -> int:
    """Retire the versions of `intake` or `wire` that nothing needs; the oldest that still opens."""
    versions = read_versions(client, key)
    oldest = oldest_needed(versions, now - LIVES[key])
    if oldest > versions.oldest_open:
        retire_before(client, key, oldest)
    return max(oldest, versions.oldest_open)


def oldest_needed(versions: Versions, since: datetime) -> int:
    """The version that was in use at a moment: those before it were replaced earlier than that."""
    in_use = [version for version, made_at in versions.made_at.items() if made_at <= since]
    return max(in_use, default=min(versions.made_at))
