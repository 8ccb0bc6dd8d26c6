import re

import pytest

from deploy.docker import health_check
from deploy.local.places import REPOSITORY
from deploy.local.ports import HOST

_DOCKERFILE = (REPOSITORY / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")


def _instructions(name: str) -> list[str]:
    joined = _DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", joined, flags=re.MULTILINE)


def test_the_base_image_is_pinned_to_a_patch_release_of_python_3_11() -> None:
    bases = [each.split(" AS ")[0] for each in _instructions("FROM")]

    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", bases[0])


def test_packages_are_installed_from_the_lock_with_their_hashes() -> None:
    installs = [each for each in _instructions("RUN") if "pip install" in each]

    assert len(installs) == 1
    assert "--require-hashes" in installs[0]
    assert "-r requirements.lock" in installs[0]


def test_the_image_runs_as_an_unprivileged_user_and_is_asked_whether_it_lives() -> None:
    assert _instructions("USER") == ["10001:10001"]
    assert "deploy.docker.health_check" in _DOCKERFILE
    assert _instructions("HEALTHCHECK")


def test_everything_that_is_copied_exists() -> None:
    for each in _instructions("COPY"):
        if each.startswith("--from"):
            continue
        *sources, _ = each.split()
        for source in sources:
            assert (REPOSITORY / source).exists(), source


@pytest.mark.parametrize("port", [1])
def test_the_health_check_says_no_where_nothing_answers(port: int) -> None:
    assert HOST == "127.0.0.1"
    assert health_check.main({"HEALTH_PORT": str(port)}) == 1
