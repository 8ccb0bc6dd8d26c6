"""The Compose file holds what the local stack holds. It is checked, not run: Docker is not needed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.docker.vault_init import role_id
from deploy.local.places import REPOSITORY
from deploy.local.services import SERVICES, Service

_FILE = REPOSITORY / "docker-compose.yml"
_OFFICIAL = {"kafka": "apache/kafka", "vault": "hashicorp/vault", "postgres": "postgres"}
_JOBS = {"vault-init", "topics", "catalog"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return value


def _check(file: Path) -> int:
    checker = Path(sys.executable).with_name("check-jsonschema")
    schema = ["--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([checker, *schema, file], check=False, capture_output=True)
    return done.returncode


def test_the_file_follows_the_compose_specification() -> None:
    assert _check(_FILE) == 0


def test_a_broken_file_would_be_noticed(tmp_path: Path, compose: dict[str, Any]) -> None:
    compose["services"]["kafka"]["helthcheck"] = {}
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(yaml.safe_dump(compose), encoding="utf-8")

    assert _check(broken) != 0
    del compose["services"]["kafka"]["helthcheck"]


def test_it_runs_the_three_servers_the_jobs_and_every_service(compose: dict[str, Any]) -> None:
    folders = REPOSITORY / "services"
    services = {each.parent.name.replace("_", "-") for each in folders.glob("*/__main__.py")}

    assert services <= {_deployed_name(each) for each in SERVICES}
    assert set(compose["services"]) == {
        *_OFFICIAL,
        *_JOBS,
        *(_deployed_name(each) for each in SERVICES),
    }


def test_images_are_official_and_pinned(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        image, _, tag = service["image"].partition(":")
        assert image == _OFFICIAL.get(name, "openroute-byok")
        assert re.match(r"\d+\.\d+", tag), f"{name} floats: {tag!r}"


def test_nobody_is_root(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["user"].split(":")[0] not in {"", "0", "root"}, name


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_a_service_is_told_what_it_needs_and_no_more(
    compose: dict[str, Any], service: Service
) -> None:
    deployed = compose["services"][_deployed_name(service)]
    environment = deployed["environment"]

    assert deployed["command"] == ["python", "-m", f"services.{service.name}"]
    assert ("POSTGRES_URL" in environment) is service.has_database
    assert ("PROVIDER_ENDPOINTS" in environment) is service.calls_providers
    assert ("EGRESS_ALLOW" in environment) is service.checks_urls
    assert ("HTTP_PORT" in environment) is service.serves_api
    assert ("VAULT_ADDRESS" in environment) is (service.vault_role is not None)
    if service.vault_role is not None:
        assert environment["VAULT_ROLE_ID"] == role_id(service.vault_role)
        assert environment["VAULT_SECRET_ID_FILE"] == f"/vault-roles/{service.vault_role}/secret-id"
        assert deployed["volumes"] == [
            f"vault-role-{service.vault_role}:/vault-roles/{service.vault_role}:ro"
        ]


def test_what_is_waited_for_can_be_waited_for(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for other, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            if other in _JOBS:
                assert condition == "service_completed_successfully", name
            else:
                assert condition == "service_healthy", name
                assert "test" in compose["services"][other]["healthcheck"], other


def test_every_volume_is_declared_and_every_published_port_is_for_this_machine_only(
    compose: dict[str, Any],
) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (REPOSITORY / source).is_file(), source
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_the_file_holds_no_password(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if name.endswith("_PASSWORD"):
                assert value.startswith("${"), name
                assert ":?" in value, name


def _deployed_name(service: Service) -> str:
    return service.name.replace("_", "-")
