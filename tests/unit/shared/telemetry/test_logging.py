import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.clock import Clock
from shared.errors import Unavailable
from shared.telemetry.logging import (
    Journal,
    configure_logging,
    forget_logging,
    get_logger,
    unit_of_work,
)

CANARY = "sk-or-v1-" + "c4n4ry" * 8


class SteppingClock:
    """Each look at the clock is a quarter of a second later."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        self._seconds += 0.25
        return self._seconds


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    root = logging.getLogger()  # noqa: TID251 - what is configured must be put back
    handlers, level = list(root.handlers), root.level
    output = io.BytesIO()
    configure_logging("billing", "billing-0", "info", stream=output)
    yield output
    forget_logging()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def clock() -> Clock:
    return SteppingClock()


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_that_says_when_who_and_what(stream: io.BytesIO) -> None:
    get_logger("postings").info("posted", count=3)

    [line] = lines(stream)
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is not None
    assert line == {
        "level": "info",
        "service": "billing",
        "instance": "billing-0",
        "logger": "postings",
        "event": "posted",
        "count": 3,
    }


def test_a_journal_writes_lines_of_the_same_form_and_nothing_once_logging_is_forgotten(
    stream: io.BytesIO,
) -> None:
    get_logger("work").info("done", count=3, token=CANARY)
    Journal("work").info("done", {"count": 3, "token": CANARY})
    forget_logging()
    Journal("work").info("done", {"count": 4})

    by_logger, by_journal = lines(stream)
    for line in (by_logger, by_journal):
        del line["timestamp"]
    assert by_journal == by_logger


def test_lines_below_the_level_are_not_written(stream: io.BytesIO) -> None:
    get_logger("x").debug("detail")

    assert lines(stream) == []


def test_libraries_come_through_from_warning_on(stream: io.BytesIO) -> None:
    library = logging.getLogger("aiokafka.producer")  # noqa: TID251 - plays the library
    library.info("hello")
    library.warning("lost %s, header api-key: %s", "broker 1", CANARY)

    [line] = lines(stream)
    assert line["logger"] == "aiokafka.producer"
    assert line["level"] == "warning"
    assert line["event"] == "lost broker 1, header api-key: ***"


def test_an_exception_is_told_without_its_locals_and_without_secrets(stream: io.BytesIO) -> None:
    def call_provider() -> None:
        provider_key = "azure" + CANARY[9:]
        raise RuntimeError(f"refused {CANARY}, {len(provider_key)} long")

    try:
        call_provider()
    except RuntimeError as error:
        error.add_note(f"sent with api-key: {CANARY}")
        get_logger("x").exception("call failed", headers={"api-key": CANARY})

    [line] = lines(stream)
    assert "c4n4ry" not in json.dumps(line)
    assert line["exception"][0]["exc_type"] == "RuntimeError"
    assert "call_provider" in json.dumps(line["exception"])


def test_text_that_is_no_unicode_does_not_cost_the_line(stream: io.BytesIO) -> None:
    get_logger("x").info("odd", model="\ud800")

    [line] = lines(stream)
    assert line["event"] == "unencodable log line"


def test_a_unit_of_work_writes_one_line_at_its_end(stream: io.BytesIO, clock: Clock) -> None:
    with unit_of_work(Journal("x"), "completion", clock, generation_id="gen-1") as line:
        line.add(model="a")
        line.add(model="b", attempts=2)
        assert lines(stream) == []

    [written] = lines(stream)
    assert written["event"] == "completion"
    assert (written["generation_id"], written["model"], written["attempts"]) == ("gen-1", "b", 2)
    assert (written["outcome"], written["duration_ms"], written["level"]) == ("ok", 250.0, "info")


def test_a_unit_of_work_can_be_refused(stream: io.BytesIO, clock: Clock) -> None:
    with unit_of_work(Journal("x"), "completion", clock) as line:
        line.outcome = "refused"
        line.add(refusal="no_credits")

    assert lines(stream)[0]["outcome"] == "refused"


def test_a_failure_is_told_by_its_class_and_goes_on(stream: io.BytesIO, clock: Clock) -> None:
    with (
        pytest.raises(ValueError, match="c4n4ry"),
        unit_of_work(Journal("x"), "completion", clock),
    ):
        raise ValueError(CANARY)

    [line] = lines(stream)
    assert (line["outcome"], line["error"], line["level"]) == ("failed", "ValueError", "error")
    assert "c4n4ry" not in json.dumps(line)


def test_what_is_unavailable_is_named(stream: io.BytesIO, clock: Clock) -> None:
    with pytest.raises(Unavailable), unit_of_work(Journal("x"), "completion", clock):
        raise Unavailable("vault", "sealed")

    assert lines(stream)[0]["reason"] == "vault is unavailable: sealed"


async def test_a_cancelled_unit_of_work_is_no_failure(stream: io.BytesIO, clock: Clock) -> None:
    async def wait() -> None:
        async with asyncio.timeout(0.01):
            with unit_of_work(Journal("x"), "completion", clock):
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()

    assert (lines(stream)[0]["outcome"], lines(stream)[0]["level"]) == ("cancelled", "info")


async def test_units_of_work_that_run_side_by_side_do_not_mix(
    stream: io.BytesIO, clock: Clock
) -> None:
    async def work(number: int) -> None:
        with unit_of_work(Journal("x"), "completion", clock, number=number) as line:
            await asyncio.sleep(0)
            line.add(twice=number * 2)

    await asyncio.gather(*(work(number) for number in range(5)))

    assert {line["number"]: line["twice"] for line in lines(stream)} == {
        number: number * 2 for number in range(5)
    }
