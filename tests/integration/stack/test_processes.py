import os
import signal
import sys
from pathlib import Path

import pytest

from deploy.local.errors import StackError
from deploy.local.places import Places
from deploy.local.private_files import read_json, write_private_json
from deploy.local.processes import Command, Processes

_SLEEP = "import time; time.sleep(60)"
_DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def _command(program: str, *, stop_deadline_seconds: float = 5.0) -> Command:
    return Command(
        arguments=(sys.executable, "-c", program),
        environment={},
        folder=Path("/"),
        stop_deadline_seconds=stop_deadline_seconds,
    )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(root=tmp_path)
    places.make()
    return places


def test_a_process_is_found_again_by_another_program_and_stopped(places: Places) -> None:
    starter = Processes(places)
    pid = starter.start("sleeper", _command(_SLEEP))

    found = Processes(places).running("sleeper")
    assert found is not None
    assert found.pid == pid
    assert os.getsid(pid) == pid

    starter.stop("sleeper")
    assert starter.running("sleeper") is None
    assert starter.names() == []


def test_only_a_process_that_matches_its_file_is_ever_signalled(places: Places) -> None:
    mine = Processes(places)
    mine.start("sleeper", _command(_SLEEP))
    record = read_json(places.runs / "sleeper.json")
    assert record is not None
    # A file of another life: the same id, which the system has since given to somebody else.
    stale = Places(root=places.root / "stale")
    stale.make()
    for change in ({"started_at": record["started_at"] - 60}, {"arguments": ["another"]}):
        write_private_json(stale.runs / "sleeper.json", {**record, **change})
        Processes(stale).stop("sleeper")
        with pytest.raises(StackError, match="sleeper is not running"):
            Processes(stale).kill("sleeper")

    assert mine.running("sleeper") is not None
    mine.stop("sleeper")


def test_one_that_ignores_the_request_to_end_is_killed_after_its_deadline(places: Places) -> None:
    processes = Processes(places)
    processes.start("deaf", _command(_DEAF, stop_deadline_seconds=0.2))
    while "deaf" not in places.log("deaf").read_text():
        assert processes.running("deaf") is not None

    processes.stop("deaf")

    assert processes.running("deaf") is None


def test_a_program_that_does_not_exist_is_named(places: Places) -> None:
    command = Command(arguments=("/nowhere/program",), environment={}, folder=Path("/"))

    with pytest.raises(StackError, match="absent cannot be started"):
        Processes(places).start("absent", command)


def test_a_changed_option_changes_the_fingerprint() -> None:
    command = _command(_SLEEP)
    same = _command(_SLEEP)
    other = Command(arguments=command.arguments, environment={"FEE": "5"}, folder=command.folder)

    assert command.fingerprint == same.fingerprint
    assert command.fingerprint != other.fingerprint
    assert command.stop_signal is signal.SIGTERM
