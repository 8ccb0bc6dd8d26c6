"""Free ports, chosen once and remembered, so that a stack comes back where it was."""

import contextlib
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping

from deploy.local.errors import StackError
from deploy.local.places import Places
from deploy.local.private_files import read_json, write_private_json

HOST = "127.0.0.1"
_FIRST, _COUNT = 17_000, 12_000  # below the range from which systems take ports for outgoing calls
_TRIES_MAX = 200


def choose_ports(
    places: Places,
    *,
    names: Iterable[str],
    configured: Mapping[str, int],
    preferred: Mapping[str, int],
    held: Callable[[str], bool],
) -> dict[str, int]:
    """A port for every name: the configured one, the remembered one, the preferred one if free, any.

    `held(name)` says that a process of this stack has the port, so that being taken is right.

    Raises:
        StackError: a configured port belongs to somebody else.
    """
    kept = read_json(places.ports) or {}
    chosen: dict[str, int] = {}
    for name in names:
        if name in configured:
            port = int(configured[name])
            if not is_free(port) and not (kept.get(name) == port and held(name)):
                raise StackError(f"the port {port} that was configured for {name} is in use")
        elif name in kept and (is_free(kept[name]) or held(name)):
            port = int(kept[name])
        else:
            port = _free_port(preferred.get(name), taken={*kept.values(), *chosen.values()})
        chosen[name] = port
    write_private_json(places.ports, {**kept, **chosen})
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # A port in TIME_WAIT is free for a server, and all ours set this option.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return True
    return False


def _free_port(preferred: int | None, *, taken: set[int]) -> int:
    if preferred is not None and preferred not in taken and is_free(preferred):
        return preferred
    for _ in range(_TRIES_MAX):
        port = _FIRST + secrets.randbelow(_COUNT)
        if port not in taken and is_free(port):
            return port
    raise StackError(f"no free port found between {_FIRST} and {_FIRST + _COUNT}")
