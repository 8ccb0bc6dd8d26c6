"""Kafka's jars: resolved from Maven coordinates by jgo, pinned by a lock of versions and hashes.

The lock names every jar (the walk over their POMs is done once, by `lock`), so that a start on a
fresh machine downloads exactly these files and refuses any other content.
"""

import hashlib
import tempfile
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests  # noqa: TID251  # jgo downloads with it, and its errors are what must be caught

from deploy.local.errors import StackError

WANTED = (
    "org.apache.kafka:kafka_2.13:4.1.1",
    # Named because the parent that log4j brings would choose an older one.
    "org.apache.kafka:kafka-clients:4.1.1",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
)
LOCK = Path(__file__).with_name("kafka-jars.lock")
_DOWNLOADS_AT_ONCE = 6
_TRIES_MAX = 3
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One locked file: `group:artifact:version` and the SHA-256 of its content."""

    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        """As Maven names it."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def locked_jars(lock: Path = LOCK) -> list[Jar]:
    """What the lock holds: a line a jar, coordinate and hash."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines if line and not line.startswith("#"))
    return [Jar(coordinate=coordinate, sha256=sha256) for coordinate, sha256 in pairs]


def install_jars(folder: Path, jars: Iterable[Jar]) -> list[Path]:
    """The files of these jars below `folder`, downloaded where missing, each checked.

    Raises:
        StackError: a jar cannot be downloaded, or its content is not what the lock says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        return list(pool.map(lambda jar: _install(folder, jar), jars))


def _install(folder: Path, jar: Jar) -> Path:
    path = folder / jar.file_name
    if not path.exists():
        # Downloaded beside and moved when whole and right, so an interrupted run leaves no half jar.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as beside:
            downloaded = _download(Path(beside), jar.coordinate)
            _check(downloaded, jar)
            downloaded.replace(path)
    else:
        _check(path, jar)
    return path


def _check(path: Path, jar: Jar) -> None:
    found = _sha256(path)
    if found != jar.sha256:
        raise StackError(
            f"{path} is not the locked {jar.coordinate}: its sha256 is {found}, "
            f"{LOCK.name} says {jar.sha256}; delete the file and run again to download it anew"
        )


def _download(repository: Path, coordinate: str) -> Path:
    context = _maven(repository)
    for attempt in range(1, _TRIES_MAX + 1):
        try:
            return Path(context.create_dependency(coordinate).artifact.resolve())
        except (RuntimeError, OSError, requests.RequestException) as error:
            if attempt == _TRIES_MAX:
                raise StackError(f"{coordinate} cannot be downloaded: {error}") from error
            # What a broken transfer left would be taken for the whole file.
            for part in repository.rglob("*.jar"):
                part.unlink()
            time.sleep(_PAUSE_SECONDS * attempt)
    raise AssertionError("the last try returns or raises")


def lock() -> str:
    """Walk the dependencies of `WANTED` and give the text of the lock."""
    with tempfile.TemporaryDirectory() as folder:
        context = _maven(Path(folder))
        inputs, transitive = context.resolver.resolve(
            [context.create_dependency(each) for each in WANTED]
        )
        needed = [*inputs, *(each for each in transitive if each.scope in {"compile", "runtime"})]
        lines = sorted(
            f"{each.groupId}:{each.artifactId}:{each.version} {_sha256(each.artifact.resolve())}"
            for each in needed
        )
    head = "# group:artifact:version sha256; made by `python -m deploy.local lock-jars`"
    return "\n".join([head, *lines]) + "\n"


def _maven(repository: Path) -> Any:
    with warnings.catch_warnings():
        # jgo looks for the user's folders when it is imported, and warns where there are none.
        warnings.simplefilter("ignore")
        from jgo.config import GlobalSettings  # noqa: PLC0415  # only where something is missing
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext  # noqa: PLC0415
    # A mirror that a person has in jgo's own settings file counts here too.
    remotes = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(repo_cache=repository, remote_repos=remotes, timeout=30)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
