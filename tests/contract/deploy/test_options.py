import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.check_options import check_options
from deploy.local.environment import python_environment
from deploy.local.errors import StackError
from deploy.local.jobs import run_job
from deploy.local.options import Options, read_json_of_strings, remember, remembered
from deploy.local.places import REPOSITORY, Places
from deploy.local.ports import choose_ports
from deploy.local.stack import Stack


@pytest.fixture
def options(tmp_path: Path) -> Options:
    Places(root=tmp_path).make()
    return Options(root=tmp_path)


def test_an_option_stays_in_force_until_it_is_given_anew(options: Options) -> None:
    remember(remembered(options, {"egress_allow": "127.0.0.1:9300", "ports": {"kafka": 9092}}))

    kept = remembered(options, {})
    assert (kept.egress_allow, kept.ports) == ("127.0.0.1:9300", {"kafka": 9092})

    remember(remembered(options, {"egress_allow": ""}))
    assert remembered(options, {}) == remembered(options, {"ports": {"kafka": 9092}})
    assert remembered(options, {}).egress_allow == ""


def test_endpoints_are_json_or_a_file_and_anything_else_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    file.write_text('{"openai": "http://127.0.0.1:9300/v1"}', encoding="utf-8")

    expected = {"openai": "http://127.0.0.1:9300/v1"}
    for value in (str(file), file.read_text(encoding="utf-8")):
        assert read_json_of_strings(value, name="PROVIDER_ENDPOINTS") == expected
    for value in ("{", "[]", "/nowhere.json", '{"openai"}'):
        with pytest.raises(StackError, match="PROVIDER_ENDPOINTS should be JSON like"):
            read_json_of_strings(value, name="PROVIDER_ENDPOINTS")


def test_ports_are_remembered_and_a_stranger_on_one_makes_it_move(options: Options) -> None:
    def chosen() -> dict[str, int]:
        return choose_ports(
            options.places,
            names=["kafka", "vault"],
            configured={},
            preferred={},
            held=lambda _: False,
        )

    first = chosen()
    assert chosen() == first
    with closing(socket.create_server(("127.0.0.1", first["kafka"]))):
        moved = chosen()
    assert moved["kafka"] != first["kafka"]
    assert moved["vault"] == first["vault"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("provider_endpoints", '{"openai": 5', "PROVIDER_ENDPOINTS should be JSON like"),
        ("provider_endpoints", '{"openai": "nowhere"}', "PROVIDER_ENDPOINTS: openai must be"),
        ("egress_allow", "nowhere", "EGRESS_ALLOW must be host:port"),
        ("catalog", "/nowhere", "CATALOG: /nowhere: is not a folder"),
        ("platform_credentials", "/nowhere", "PLATFORM_CREDENTIALS should be JSON like"),
    ],
)
def test_a_wrong_option_is_one_line_and_neither_started_with_nor_remembered(
    options: Options, name: str, value: str, says: str
) -> None:
    wrong = remembered(options, {name: value})

    with pytest.raises(StackError, match=says) as refused:
        Stack(wrong).up()

    assert "\n" not in str(refused.value)
    assert remembered(options, {}) == options


def test_the_options_of_a_fresh_stack_pass_and_so_do_providers_that_nobody_knows(
    options: Options,
) -> None:
    check_options(options)
    endpoints = (
        '{"openai": "http://127.0.0.1:9300/v1", "google-oauth": "http://127.0.0.1:9303/token"}'
    )
    check_options(replace(options, provider_endpoints=endpoints, egress_allow="127.0.0.1:9300"))


def test_a_job_that_fails_says_why_and_not_what_earlier_ones_said(options: Options) -> None:
    options.places.log("catalog").write_text("said before\n", encoding="utf-8")
    with pytest.raises(StackError, match="/nowhere: is not a folder") as failed:
        run_job(
            options.places,
            name="catalog",
            module=("deploy.catalog", "check", "--folder", "/nowhere"),
            environment=python_environment(REPOSITORY),
        )
    assert failed.value.log == options.places.log("catalog")
    assert "said before" not in str(failed.value)
