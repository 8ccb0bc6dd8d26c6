"""The Python processes of the stack: the four services and the provider simulator.

`SERVICES` says what each needs, and each gets exactly that in its environment.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import requests  # noqa: TID251  # a probe from a command line tool

from deploy.local.component import Component, Part
from deploy.local.environment import python, python_environment
from deploy.local.kafka import Kafka
from deploy.local.openbao import OpenBao
from deploy.local.options import Options
from deploy.local.places import REPOSITORY
from deploy.local.ports import HOST
from deploy.local.postgres import Postgres
from deploy.local.processes import Command
from deploy.local.service_account import public_keys
from deploy.local.simulator import SIMULATOR, simulator_endpoints

_READY_DEADLINE_SECONDS = 60.0
_PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What one service needs from its surroundings."""

    name: str
    has_database: bool = False
    vault_role: str | None = None
    serves_api: bool = False
    calls_providers: bool = False
    checks_urls: bool = False


SERVICES = (
    Service(name="key_vault", has_database=True, vault_role="key-vault", checks_urls=True),
    Service(name="billing", has_database=True),
    Service(name="dispatcher", vault_role="dispatcher", calls_providers=True, checks_urls=True),
    Service(name="ingress", has_database=True, vault_role="ingress", serves_api=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One process of a service."""

    service: Service
    ordinal: int

    @property
    def name(self) -> str:
        """The service's name, and from the second on its ordinal."""
        return self.service.name if self.ordinal == 0 else f"{self.service.name}-{self.ordinal}"

    @property
    def health_port_name(self) -> str:
        """Where health and metrics are, by the port's name."""
        return f"{self.name}.health"


def instances(options: Options) -> Iterator[Instance]:
    """Every process of every service that these options ask for."""
    for service in SERVICES:
        for ordinal in range(options.instances.get(service.name, 1)):
            yield Instance(service=service, ordinal=ordinal)


def simulated(options: Options) -> bool:
    """Whether the provider simulator stands in: yes, unless somebody names other endpoints."""
    return not options.provider_endpoints


def port_names(options: Options) -> list[str]:
    """The ports that the Python processes listen on."""
    names = [SIMULATOR] if simulated(options) else []
    for instance in instances(options):
        names.append(instance.health_port_name)
        if instance.service.serves_api:
            names.append(instance.name)
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonProcesses:
    """Builds the components of one stack that are this repository's own programs."""

    options: Options
    ports: Mapping[str, int]
    kafka: Kafka
    postgres: Postgres
    vault: OpenBao

    def components(self) -> list[Component]:
        """The simulator, where it stands in, and the services."""
        first = [self._simulator()] if simulated(self.options) else []
        return [*first, *(self._component(each) for each in instances(self.options))]

    def metrics_urls(self) -> dict[str, str]:
        """Process name → where Prometheus scrapes it."""
        return {
            each.name: f"http://{HOST}:{self.ports[each.health_port_name]}/metrics"
            for each in instances(self.options)
        }

    def environment(self, instance: Instance) -> dict[str, str]:
        """All that a process of a service is told."""
        service = instance.service
        environment = {
            **python_environment(REPOSITORY),
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "INSTANCE_ORDINAL": str(instance.ordinal),
            "HEALTH_HOST": HOST,
            "HEALTH_PORT": str(self.ports[instance.health_port_name]),
        }
        if service.has_database:
            environment["POSTGRES_URL"] = self.postgres.url(service.name)
        if service.vault_role is not None:
            environment["VAULT_ADDRESS"] = self.vault.address
            environment["VAULT_ROLE_ID"] = self.vault.role_id(service.vault_role)
            environment["VAULT_SECRET_ID_FILE"] = str(self.vault.secret_id_file(service.vault_role))
        if service.serves_api:
            environment["HTTP_HOST"] = HOST
            environment["HTTP_PORT"] = str(self.ports[instance.name])
        if service.calls_providers:
            environment["PROVIDER_ENDPOINTS"] = json.dumps(self._endpoints())
        if service.checks_urls:
            environment["EGRESS_ALLOW"] = self._egress_allow()
        for name in dict.fromkeys((service.name, instance.name)):
            environment.update(self.options.settings.get(name, {}))
        return environment

    def _endpoints(self) -> dict[str, str]:
        if simulated(self.options):
            return simulator_endpoints(HOST, self.ports[SIMULATOR])
        return self.options.given_endpoints()

    def _egress_allow(self) -> str:
        allowed = [each.strip() for each in self.options.egress_allow.split(",") if each.strip()]
        if simulated(self.options):
            allowed.append(f"{HOST}:{self.ports[SIMULATOR]}")
        return ",".join(dict.fromkeys(allowed))

    def _component(self, instance: Instance) -> Component:
        health_port = self.ports[instance.health_port_name]
        return Component(
            name=instance.name,
            part=Part.SERVICES,
            port=self.ports[instance.name] if instance.service.serves_api else health_port,
            command=lambda: Command(
                arguments=(python(), "-m", f"services.{instance.service.name}"),
                environment=self.environment(instance),
                folder=REPOSITORY,
            ),
            ready=lambda: _is_ok(f"http://{HOST}:{health_port}/readyz"),
            ready_deadline_seconds=_READY_DEADLINE_SECONDS,
        )

    def _simulator(self) -> Component:
        port = self.ports[SIMULATOR]
        program = (python(), "-m", "tests.simulator", "--host", HOST, "--port", str(port))
        return Component(
            name=SIMULATOR,
            part=Part.SERVICES,
            port=port,
            command=lambda: Command(
                arguments=(*program, "--accounts", public_keys(self.options.places)),
                environment={
                    **python_environment(REPOSITORY),
                    **self.options.settings.get(SIMULATOR, {}),
                },
                folder=REPOSITORY,
            ),
            ready=lambda: _is_ok(f"http://{HOST}:{port}/healthz"),
            ready_deadline_seconds=_READY_DEADLINE_SECONDS,
        )


def _is_ok(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=_PROBE_SECONDS).status_code == HTTPStatus.OK
    return False
