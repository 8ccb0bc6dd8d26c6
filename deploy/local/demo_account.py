"""The account that `up` makes for trying out, and the shared capacity behind it."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.local.jobs import run_job
from deploy.local.options import Options, read_json_of_strings
from deploy.local.places import Places
from deploy.local.ports import HOST
from deploy.local.private_files import read_json, write_private, write_private_json
from deploy.local.service_account import service_account
from deploy.local.services import simulated
from deploy.local.simulator import SIMULATOR, simulator_credentials

_NAME = "demo"
_CREDITS_USD = "5.00"
_OPERATIONS = "services.ingress.operations"
_JOBS_MAX = 4
"""Operators' commands at a time; each is a process that mostly waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccount:
    """Makes what a person needs for a first request."""

    options: Options
    ports: Mapping[str, int]
    environment: Mapping[str, str]

    def ensure(self) -> dict[str, Any]:
        """The account's id and keys, made and topped up by the first call."""
        file = self._places.demo
        kept = read_json(file)
        if kept is None:
            printed = self._operate("account", "--name", _NAME)
            kept = {**json.loads(printed.strip().splitlines()[-1]), "topped_up": False}
            write_private_json(file, kept)
        if not kept["topped_up"]:
            account_id = str(kept["account_id"])
            amount = ("--amount", _CREDITS_USD, "--key", "demo-initial")
            self._operate("credit", "--account", account_id, *amount)
            kept["topped_up"] = True
            write_private_json(file, kept)
        return {name: kept[name] for name in ("account_id", "api_key", "management_key")}

    def store_platform_credentials(self) -> None:
        """Hand over the shared capacity's credentials, those that changed since the last time."""
        given = self._platform_credentials()
        with ThreadPoolExecutor(max_workers=_JOBS_MAX) as jobs:
            stored = [jobs.submit(self._store, *each) for each in given.items()]
        for each in stored:
            each.result()

    def _store(self, provider: str, credential: str) -> None:
        stamp = self._places.stamps / f"platform-credential-{provider}"
        digest = hashlib.sha256(credential.encode()).hexdigest()
        if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
            return
        file = self._places.secrets / f"platform-credential-{provider}"
        write_private(file, credential)
        try:
            self._operate("platform-credential", "--provider", provider, "--file", str(file))
        finally:
            file.unlink()
        write_private(stamp, digest)

    @property
    def _places(self) -> Places:
        return self.options.places

    def _platform_credentials(self) -> dict[str, str]:
        if self.options.platform_credentials:
            return read_json_of_strings(
                self.options.platform_credentials, name="PLATFORM_CREDENTIALS"
            )
        if simulated(self.options):
            models = model_slugs(self.options.catalog_folder)
            account = service_account(self._places)
            return simulator_credentials(HOST, self.ports[SIMULATOR], models, account)
        return {}

    def _operate(self, *arguments: str) -> str:
        return run_job(
            self._places,
            name="operations",
            module=[_OPERATIONS, *arguments],
            environment=self.environment,
        )


def model_slugs(catalog: Path) -> list[str]:
    """The models of a catalog folder, by slug."""
    documents = (yaml.safe_load(file.read_bytes()) for file in sorted(catalog.rglob("*.yaml")))
    return [each["slug"] for each in documents if isinstance(each, dict) and "slug" in each]
