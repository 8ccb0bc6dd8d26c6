"""The commands of the local stack."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local import jars
from deploy.local.environment import python, python_environment
from deploy.local.errors import StackError
from deploy.local.options import Options, remembered
from deploy.local.places import REPOSITORY
from deploy.local.stack import Stack, Stage
from deploy.vault import apply as vault
from deploy.vault import rotation

# Variable → the port it chooses.
_PORT_VARIABLES = {
    "INGRESS_PORT": "ingress",
    "KAFKA_PORT": "kafka",
    "POSTGRES_PORT": "postgres",
    "VAULT_PORT": "vault",
}
# Variable → the option it sets; an empty value goes back to the default.
_OPTION_VARIABLES = {
    "CATALOG": "catalog",
    "EGRESS_ALLOW": "egress_allow",
    "PLATFORM_CREDENTIALS": "platform_credentials",
    "PROVIDER_ENDPOINTS": "provider_endpoints",
}
_PATH_OPTIONS = ("catalog", "platform_credentials", "provider_endpoints")
_MEBIBYTE = 1024 * 1024
_INTERRUPTED = 130


def main(arguments: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run one command; gives the exit code: 0, or 1 with one line that says what failed."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Mapping[str, str]], int] = given.command
    try:
        return command(given, environment)
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("--root", type=Path, default=Options().root, help="the stack's folder")
    commands = parser.add_subparsers(required=True, metavar="command")

    up = commands.add_parser(
        "up",
        help="start everything that is not running, and wait",
        description="Reads, where set: "
        + ", ".join([*_OPTION_VARIABLES, *_PORT_VARIABLES, "PARTITIONS_MAX"])
        + ". What was given once stays in force until it is given anew or the stack is cleaned.",
    )
    up.set_defaults(command=_up)
    up.add_argument(
        "--only",
        type=Stage,
        choices=list(Stage),
        default=Stage.DEMO,
        help="how far to go: the servers, their topics and catalog, the services, the demo account",
    )
    up.add_argument(
        "--set",
        action="append",
        metavar="SERVICE.NAME=VALUE",
        help="a further environment variable for a service; may be repeated",
    )

    for name, command, text in (
        ("down", _down, "stop everything; data stays"),
        ("status", _status, "one line a process"),
        ("clean", _clean, "stop everything and remove data, keeping downloads"),
        ("catalog", _catalog, "publish the model catalog (CATALOG, else the one in force)"),
        (
            "vault-policies",
            _vault_policies,
            "apply deploy/vault to VAULT_ADDRESS, else the stack's",
        ),
        (
            "vault-retire",
            _vault_retire,
            "retire old versions of the keys intake and wire; VAULT_TOKEN, else the stack's",
        ),
        ("lock-jars", _lock_jars, "resolve Kafka's jars anew and write their lock"),
    ):
        commands.add_parser(name, help=text).set_defaults(command=command)

    logs = commands.add_parser("logs", help="follow the log of a process")
    logs.set_defaults(command=_logs)
    logs.add_argument("name", nargs="?", default="", help="process name; all when left out")

    rotate = commands.add_parser(
        "vault-rotate",
        help="rotate the keys of what is kept, with VAULT_TOKEN and key_vault's settings from the "
        "environment, else the stack's",
    )
    rotate.set_defaults(command=_vault_rotate)
    rotate.add_argument("--retire", action="store_true", help="old ciphertexts open no more")

    run = commands.add_parser("run", help="run a module with the settings of a service")
    run.set_defaults(command=_run)
    run.add_argument("--as", dest="service", default="ingress", help="whose settings")
    run.add_argument("module", nargs=argparse.REMAINDER, help="-- module arguments...")
    return parser


def _stack(given: argparse.Namespace, new: Mapping[str, Any] | None = None) -> Stack:
    root: Path = given.root.resolve()
    return Stack(remembered(Options(root=root), new or {}), output=sys.stdout)


def _up(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    new: dict[str, Any] = {
        name: environment[variable]
        for variable, name in _OPTION_VARIABLES.items()
        if variable in environment
    }
    for name in _PATH_OPTIONS:
        if new.get(name) and not new[name].lstrip().startswith("{"):
            new[name] = str(Path(new[name]).expanduser().resolve())
    ports = {
        name: _number(variable, environment[variable])
        for variable, name in _PORT_VARIABLES.items()
        if environment.get(variable)
    }
    if ports:
        new["ports"] = ports
    if environment.get("PARTITIONS_MAX"):
        new["partitions_max"] = _number("PARTITIONS_MAX", environment["PARTITIONS_MAX"])
    if given.set is not None:
        new["settings"] = _settings(given.set)
    stack = _stack(given, new)
    stack.up(until=given.only)
    manifest = stack.manifest
    where = manifest.get("base_url", f"kafka {manifest['kafka']}, vault {manifest['vault']}")
    sys.stdout.write(f"up: {where} (all addresses: {stack.places.manifest})\n")
    return 0


def _number(variable: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise StackError(f"{variable} should be a number like 8080, not {value!r}") from error


def _settings(pairs: Sequence[str]) -> dict[str, dict[str, str]]:
    settings: dict[str, dict[str, str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        service, dot, variable = name.partition(".")
        if pair and not (equals and dot):
            raise StackError(f"--set should look like billing.BYOK_FEE_PERCENT=5, not {pair!r}")
        if pair:
            settings.setdefault(service, {})[variable] = value
    return settings


def _down(given: argparse.Namespace, _: Mapping[str, str]) -> int:
    _stack(given).down()
    return 0


def _clean(given: argparse.Namespace, _: Mapping[str, str]) -> int:
    _stack(given).clean()
    return 0


def _status(given: argparse.Namespace, _: Mapping[str, str]) -> int:
    lines = _stack(given).status()
    if not lines:
        raise StackError("no stack is up; start it with `make up`")
    table = Table(box=None)
    for column in ("process", "pid", "port", "state", "RSS", "uptime"):
        table.add_column(column, justify="left" if column in {"process", "state"} else "right")
    for line in lines:
        state = "ready" if line.ready else "NOT RUNNING" if line.pid is None else "NOT READY"
        pid = "-" if line.pid is None else str(line.pid)
        rss, uptime = f"{line.rss_bytes / _MEBIBYTE:.0f} MiB", f"{line.uptime_seconds:.0f} s"
        table.add_row(line.name, pid, str(line.port), state, rss, uptime)
    Console(file=sys.stdout).print(table)
    return 0 if all(line.ready for line in lines) else 1


def _logs(given: argparse.Namespace, _: Mapping[str, str]) -> int:
    logs = _stack(given).places.logs
    files = sorted(logs.glob("*.log")) if not given.name else [logs / f"{given.name}.log"]
    if not files or not all(file.exists() for file in files):
        known = ", ".join(file.stem for file in sorted(logs.glob("*.log"))) or "none yet"
        raise StackError(f"no log of {given.name or 'any process'}; there are: {known}")
    tail = ["tail", "-n", "100", "-F", *(str(file) for file in files)]
    return subprocess.run(tail, check=False).returncode


def _catalog(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    stack = _stack(given)
    folder = environment.get("CATALOG") or str(stack.options.catalog_folder)
    folder = str(Path(folder).expanduser().resolve())
    return _replaced_by(
        ["deploy.catalog", "publish", "--folder", folder, "--kafka", stack.manifest["kafka"]],
        python_environment(REPOSITORY),
    )


def _vault_policies(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    if environment.get("VAULT_ADDRESS"):
        return vault.main([], environment=environment)
    _stack(given).apply_vault_policies()
    sys.stdout.write("the stack's vault has its keys, policies and roles\n")
    return 0


def _vault_rotate(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    return _rotation(["--retire"] if given.retire else [], given, environment)


def _vault_retire(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    return _rotation(["--only-retire-aged"], given, environment)


def _rotation(
    arguments: Sequence[str], given: argparse.Namespace, environment: Mapping[str, str]
) -> int:
    if environment.get("VAULT_ADDRESS"):
        return rotation.main(arguments, environment=environment)
    stack = _stack(given)
    of_stack = {
        **stack.service_environment("key_vault"),
        "VAULT_TOKEN": stack.vault_token("rotation"),
    }
    return rotation.main(arguments, environment=of_stack)


def _run(given: argparse.Namespace, _: Mapping[str, str]) -> int:
    module = [each for each in given.module if each != "--"] if given.module else []
    if not module:
        raise StackError("say what to run: python -m deploy.local run -- module arguments...")
    return _replaced_by(module, _stack(given).service_environment(given.service))


def _replaced_by(module: Sequence[str], environment: Mapping[str, str]) -> int:
    sys.stdout.flush()
    # Replaced, not wrapped: signals, exit code and the last line of output are the tool's own.
    os.chdir(REPOSITORY)
    os.execve(python(), [python(), "-m", *module], environment)  # noqa: S606  # no shell is wanted


def _lock_jars(_: argparse.Namespace, __: Mapping[str, str]) -> int:
    jars.LOCK.write_text(jars.lock(), encoding="utf-8")
    sys.stdout.write(f"{jars.LOCK} holds {len(jars.locked_jars())} jars\n")
    return 0
