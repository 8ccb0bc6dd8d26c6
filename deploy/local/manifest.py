"""`stack.json`: the description of a running stack that people and tests read."""

from collections.abc import Mapping
from typing import Any

from deploy.local.demo_account import model_slugs
from deploy.local.openbao import NAME as VAULT
from deploy.local.ports import HOST
from deploy.local.postgres import SCHEMAS
from deploy.local.services import PythonProcesses

_INGRESS = "ingress"


def manifest_of(
    processes: PythonProcesses, *, pids: Mapping[str, int], demo: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What runs now, and where.

    Args:
        processes: the stack's own programs, which know the servers too.
        pids: process name → id of what runs.
        demo: the demo account, once it is made.
    """
    manifest: dict[str, Any] = {
        "kafka": processes.kafka.bootstrap_servers,
        "postgres": {role: processes.postgres.url(role) for role in SCHEMAS},
        VAULT: processes.vault.address,
        "pids": dict(pids),
    }
    if _INGRESS in pids:
        manifest["base_url"] = f"http://{HOST}:{processes.ports[_INGRESS]}/api/v1"
        metrics = processes.metrics_urls()
        manifest["metrics_urls"] = {name: url for name, url in metrics.items() if name in pids}
    if _INGRESS in pids and demo is not None:
        kept = {name: demo[name] for name in ("account_id", "api_key", "management_key")}
        models = model_slugs(processes.options.catalog_folder)
        manifest["demo"] = {**kept, "models": models}
    return manifest
