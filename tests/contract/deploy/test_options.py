import socket
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local.errors import StackError
from deploy.local.options import Options, read_json_of_strings, remember, remembered
from deploy.local.places import Places
from deploy.local.ports import choose_ports


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
