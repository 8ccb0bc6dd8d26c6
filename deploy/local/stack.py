"""One local stack, from Python.

    stack = Stack(Options(root=folder))
    stack.up(until=Stage.INFRASTRUCTURE)    # or Stage.TOPICS, SERVICES, DEMO (the default)
    stack.manifest["kafka"]
    stack.kill("billing"); stack.up()       # kill -9, and back again
    stack.clean()

Every method blocks: call it through `asyncio.to_thread` where a loop runs.
"""

import contextlib
import enum
import fcntl
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from deploy.local import kafka, openbao, postgres
from deploy.local.check_options import check_options
from deploy.local.component import Component, Part
from deploy.local.demo_account import DemoAccount
from deploy.local.environment import python_environment
from deploy.local.errors import StackError
from deploy.local.jobs import run_job
from deploy.local.manifest import manifest_of
from deploy.local.options import Options, remember
from deploy.local.places import REPOSITORY
from deploy.local.ports import choose_ports
from deploy.local.postgres import folder_elsewhere
from deploy.local.private_files import read_json, write_private, write_private_json
from deploy.local.processes import Processes
from deploy.local.progress import Progress
from deploy.local.services import SERVICES, Instance, PythonProcesses, port_names
from deploy.local.status import Line, line_of
from deploy.local.supervisor import Supervisor

SERVERS = (kafka.NAME, openbao.NAME, postgres.NAME)
_PREFERRED_PORTS = {"ingress": 8080}
_INFRASTRUCTURE_PORTS = (*kafka.PORTS, *openbao.PORTS, *postgres.PORTS)


class Stage(enum.StrEnum):
    """How far `up` goes; each stage contains those before it."""

    INFRASTRUCTURE = "infrastructure"
    TOPICS = "topics"
    SERVICES = "services"
    DEMO = "demo"

    def reaches(self, other: "Stage") -> bool:
        """Whether `other` is part of this stage."""
        order = list(Stage)
        return order.index(self) >= order.index(other)


class Stack:
    """The processes, data and descriptions below one root.

    Args:
        options: what was chosen; see `Options`.
        output: where progress is shown; None for nowhere.
    """

    def __init__(self, options: Options, *, output: TextIO | None = None) -> None:
        self.options = options
        self.places = options.places
        self._progress = Progress(output)
        self._processes = Processes(self.places)

    def up(self, *, until: Stage = Stage.DEMO) -> None:
        """Have everything up to that stage running and ready; quick when it is already.

        A process that died is started again, one whose options changed is restarted. When
        something fails, what this call started is stopped again.

        Raises:
            StackError: one line that says what failed, and where its log is.
        """
        check_options(self.options)
        self.places.make()
        with self._alone(), self._progress:
            supervisor = Supervisor(self.places, self._processes, self._progress)
            try:
                self._bring_up(supervisor, until)
            except BaseException:
                supervisor.stop_all(supervisor.started)
                self._describe_what_is_left()
                raise

    def down(self) -> None:
        """End every process, the last started first; data stays."""
        if not self.places.runs.is_dir():
            return
        with self._alone(), self._progress:
            supervisor = Supervisor(self.places, self._processes, self._progress)
            # Servers last, whatever was restarted when.
            supervisor.stop_all(
                sorted(self._processes.names(), key=lambda name: name not in SERVERS)
            )
            self.places.manifest.unlink(missing_ok=True)

    def clean(self) -> None:
        """`down`, then remove everything but the downloads."""
        self.down()
        shutil.rmtree(folder_elsewhere(self.places), ignore_errors=True)
        if not self.places.root.is_dir():
            return
        kept = {self.places.cache, self.options.cache}
        for each in set(self.places.root.iterdir()) - kept:
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink()
        if not any(self.places.root.iterdir()):
            self.places.root.rmdir()

    def kill(self, name: str) -> None:
        """Kill -9 one process, as a crash would; `up` starts it again."""
        self._processes.kill(name)

    def restart(self, name: str) -> None:
        """Stop one process in an orderly way and start it again, ready."""
        with self._alone(), self._progress:
            component = self._component(name)
            self._processes.stop(name)
            Supervisor(self.places, self._processes, self._progress).ensure([component])
            self._describe()

    def status(self) -> list[Line]:
        """One line a process that should run."""
        started = self._processes.names()
        if not started:
            return []
        return [
            line_of(each, self._processes.running(each.name))
            for each in self._components()
            if each.name in started
        ]

    @property
    def manifest(self) -> dict[str, Any]:
        """The content of `stack.json`.

        Raises:
            StackError: the stack is not up.
        """
        manifest = read_json(self.places.manifest)
        if manifest is None:
            raise StackError(f"no stack is up below {self.places.root}; start it with `make up`")
        return manifest

    def service_environment(self, name: str) -> dict[str, str]:
        """What a process of the service `name` is told; for running its tools beside it."""
        service = next(each for each in SERVICES if each.name == name)
        return self._python().environment(Instance(service=service, ordinal=0))

    def apply_vault_policies(self) -> None:
        """Bring the running Vault to what deploy/vault says now."""
        if self._processes.running(openbao.NAME) is None:
            raise StackError("vault is not running; start it with `make up`")
        self._vault().configure()

    def vault_token(self, policy: str) -> str:
        """A short-lived token of the running Vault, with one of deploy/vault's policies."""
        self.apply_vault_policies()
        return self._vault().token(policy)

    def _bring_up(self, supervisor: Supervisor, until: Stage) -> None:
        self._choose_ports()
        remember(self.options)
        if not self._kafka().is_downloaded:
            with self._progress.step("kafka download", done="checked"):
                self._kafka().download()
        supervisor.ensure(each for each in self._components() if each.part is Part.INFRASTRUCTURE)
        if until.reaches(Stage.TOPICS):
            self._publish_topics()
        if until.reaches(Stage.SERVICES):
            self._publish_catalog()
            services = [each for each in self._components() if each.part is Part.SERVICES]
            supervisor.ensure(services)
            self._stop_what_is_no_longer_wanted(supervisor)
        if until.reaches(Stage.DEMO):
            self._make_demo()
        self._describe()

    def _choose_ports(self) -> None:
        default = self.options.root == Options().root
        choose_ports(
            self.places,
            names=[*_INFRASTRUCTURE_PORTS, *port_names(self.options)],
            configured=self.options.ports,
            preferred=_PREFERRED_PORTS if default else {},
            held=lambda name: self._processes.running(name.split(".")[0]) is not None,
        )

    @property
    def _ports(self) -> dict[str, int]:
        ports = read_json(self.places.ports)
        if ports is None:
            raise StackError(f"no stack was ever up below {self.places.root}; start it: `make up`")
        return ports

    def _kafka(self) -> kafka.Kafka:
        return kafka.Kafka(options=self.options, ports=self._ports)

    def _vault(self) -> openbao.OpenBao:
        return openbao.OpenBao(options=self.options, ports=self._ports)

    def _python(self) -> PythonProcesses:
        ports = self._ports
        return PythonProcesses(
            options=self.options,
            ports=ports,
            kafka=self._kafka(),
            postgres=postgres.Postgres(options=self.options, ports=ports),
            vault=self._vault(),
        )

    def _components(self) -> list[Component]:
        python = self._python()
        servers = (python.kafka, python.vault, python.postgres)
        return [*(each.component() for each in servers), *python.components()]

    def _component(self, name: str) -> Component:
        for component in self._components():
            if component.name == name:
                return component
        known = ", ".join(each.name for each in self._components())
        raise StackError(f"no process is called {name}; there are {known}")

    def _publish_topics(self) -> None:
        partitions_max = str(self.options.partitions_max)
        self._publish(
            "topics",
            inputs=[REPOSITORY / "shared" / "events" / "topics.py"],
            module=("deploy.local.topics", "--partitions-max", partitions_max),
        )

    def _publish_catalog(self) -> None:
        folder = self.options.catalog_folder
        self._publish(
            "catalog",
            inputs=sorted(folder.rglob("*.yaml")),
            module=("deploy.catalog", "publish", "--folder", str(folder)),
        )

    def _publish(self, name: str, *, inputs: Iterable[Path], module: Sequence[str]) -> None:
        """Run a job that writes to Kafka, unless it did so before with the same inputs."""
        digest = hashlib.sha256(" ".join(module).encode())
        for file in inputs:
            digest.update(file.read_bytes())
        stamp = self.places.stamps / name
        if stamp.exists() and stamp.read_text(encoding="utf-8") == digest.hexdigest():
            return
        with self._progress.step(name, done="published"):
            run_job(
                self.places,
                name=name,
                module=[*module, "--kafka", self._kafka().bootstrap_servers],
                environment=python_environment(REPOSITORY),
            )
        write_private(stamp, digest.hexdigest())

    def _make_demo(self) -> None:
        demo = DemoAccount(
            options=self.options,
            ports=self._ports,
            environment=self.service_environment("ingress"),
        )
        with self._progress.step("demo account", done="there"):
            demo.store_platform_credentials()
            demo.ensure()

    def _stop_what_is_no_longer_wanted(self, supervisor: Supervisor) -> None:
        wanted = {each.name for each in self._components()}
        supervisor.stop_all(name for name in self._processes.names() if name not in wanted)

    def _describe(self) -> None:
        running = [self._processes.running(name) for name in self._processes.names()]
        write_private_json(
            self.places.manifest,
            manifest_of(
                self._python(),
                pids={each.name: each.pid for each in running if each is not None},
                demo=read_json(self.places.demo),
            ),
        )

    def _describe_what_is_left(self) -> None:
        if any(self._processes.running(name) for name in self._processes.names()):
            self._describe()
        else:
            self.places.manifest.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other commands from changing the same stack meanwhile."""
        with (self.places.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StackError(
                    f"another command is changing the stack below {self.places.root}"
                ) from error
            yield
