"""What can be chosen about a stack, and what is remembered of it.

Options given at `up` stay in force, also for a later plain `up`, until they are given anew or the
stack is cleaned. An empty value goes back to the default.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from deploy.local.errors import StackError
from deploy.local.places import REPOSITORY, Places
from deploy.local.private_files import read_json, write_private_json

PARTITIONS_MAX = 4
"""Enough to see several partitions at work; the table's 48 are for clusters. Each partition more is a
smaller batch for the one broker, and a longer list in every fetch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The choices for one stack.

    Attributes:
        root: folder for data, logs and descriptions.
        cache: folder for downloads, shared by all stacks of a checkout.
        ports: port name (`kafka`, `postgres`, `vault`, `ingress`, `<service>.health`, ...) → port;
            whatever is not named gets a free one.
        partitions_max: upper bound of partitions a topic.
        provider_endpoints: provider slug → base URL, as JSON or a file's path; without it the
            provider simulator is started and pointed at.
        egress_allow: comma-separated `host:port` that may be called besides public https.
        catalog: folder of model files.
        platform_credentials: JSON file, provider slug → what a user would paste.
        settings: process or service name → further environment variables for it.
        instances: service → how many processes of it (the first has ordinal 0).
    """

    root: Path = REPOSITORY / ".local"
    cache: Path = REPOSITORY / ".local" / "cache"
    ports: Mapping[str, int] = field(default_factory=dict)
    partitions_max: int = PARTITIONS_MAX
    provider_endpoints: str = ""
    egress_allow: str = ""
    catalog: str = ""
    platform_credentials: str = ""
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    instances: Mapping[str, int] = field(default_factory=dict)

    @property
    def places(self) -> Places:
        """The files of this stack."""
        return Places(root=self.root)

    @property
    def catalog_folder(self) -> Path:
        """The folder of model files in force."""
        return Path(self.catalog) if self.catalog else REPOSITORY / "deploy" / "catalog"

    def given_endpoints(self) -> dict[str, str]:
        """`provider_endpoints` as an object; a path is read.

        Raises:
            StackError: neither a JSON object of strings nor the path of such a file.
        """
        if not self.provider_endpoints:
            return {}
        return read_json_of_strings(self.provider_endpoints, name="PROVIDER_ENDPOINTS")


_REMEMBERED = tuple(each.name for each in fields(Options) if each.name not in {"root", "cache"})


def remembered(options: Options, given: Mapping[str, Any]) -> Options:
    """`options` with what was remembered below its root, then with what is `given` now."""
    kept = read_json(options.places.options) or {}
    known = {name: value for name, value in kept.items() if name in _REMEMBERED}
    return replace(options, **{**known, **given})


def remember(options: Options) -> None:
    """Keep these options for the next `up`."""
    kept = {name: value for name, value in asdict(options).items() if name in _REMEMBERED}
    write_private_json(options.places.options, kept)


def read_json_of_strings(value: str, *, name: str) -> dict[str, str]:
    """A JSON object of strings, given as it stands or as the path of a file.

    Values that are themselves objects or arrays (an Azure configuration, say) come back as JSON.

    Raises:
        StackError: says which setting is wrong and how it should look.
    """
    example = f'{name} should be JSON like {{"openai": "..."}} or the path of such a file'
    text = value
    if not value.lstrip().startswith("{"):
        try:
            text = Path(value).expanduser().read_text(encoding="utf-8")
        except OSError as error:
            raise StackError(f"{example}: {error}") from error
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise StackError(f"{example}: {error}") from error
    if not isinstance(parsed, dict):
        raise StackError(example)
    return {
        str(key): each if isinstance(each, str) else json.dumps(each)
        for key, each in parsed.items()
    }
