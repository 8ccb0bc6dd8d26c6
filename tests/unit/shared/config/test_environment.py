from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from shared.config import parsers
from shared.config.environment import ConfigProblems, describe, load, setting
from shared.config.example import render
from shared.postgres.config import PostgresConfig
from shared.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerConfig:
    password: Secret = setting("INNER_PASSWORD", "what opens it", example="hunter2-example")
    is_on: bool = setting("INNER_ON", "whether it is on", example="true", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterConfig:
    inner: InnerConfig
    name: str = setting("OUTER_NAME", "what it is called", example="dispatcher")
    count: int = setting("OUTER_COUNT", "how many", example="3", parse=parsers.positive_int)
    percent: Decimal = setting("OUTER_PERCENT", "how much", example="5", default=Decimal(5))
    folder: Path | None = setting("OUTER_FOLDER", "where", example="/var/lib/openroute")
    brokers: tuple[str, ...] = setting(
        "OUTER_BROKERS",
        "who",
        example="a:1,b:2",
        default=("127.0.0.1:9092",),
        parse=parsers.host_port_list,
    )


COMPLETE = {"OUTER_NAME": "billing", "OUTER_COUNT": "4", "INNER_PASSWORD": "s3cret-value"}


def test_values_are_read_by_their_types_and_defaults_fill_the_rest() -> None:
    config = load(OuterConfig, COMPLETE | {"INNER_ON": "TRUE", "OUTER_BROKERS": "a:1, [::1]:2"})

    assert config.name == "billing"
    assert config.count == 4
    assert config.percent == Decimal(5)
    assert config.folder is None
    assert config.brokers == ("a:1", "[::1]:2")
    assert config.inner.is_on is True
    assert config.inner.password.reveal() == "s3cret-value"


def test_all_problems_are_told_together_each_with_its_variable_and_an_example() -> None:
    with pytest.raises(ConfigProblems) as raised:
        load(OuterConfig, {"OUTER_COUNT": "none", "INNER_ON": "perhaps", "OUTER_PERCENT": "NaN"})

    assert raised.value.problems == [
        "INNER_PASSWORD is not set: what opens it (example: hunter2-example)",
        "INNER_ON must be true or false, not 'perhaps' (example: true)",
        "OUTER_NAME is not set: what it is called (example: dispatcher)",
        "OUTER_COUNT must be a whole number between 1 and 2147483647, not 'none' (example: 3)",
        "OUTER_PERCENT must be a finite decimal number, not 'NaN' (example: 5)",
    ]


def test_a_variable_set_to_nothing_counts_as_not_set() -> None:
    assert load(OuterConfig, COMPLETE | {"OUTER_PERCENT": " "}).percent == Decimal(5)


def test_a_problem_never_shows_a_secret() -> None:
    with pytest.raises(ConfigProblems) as raised:
        load(PostgresConfig, {"POSTGRES_URL": "mysql://me:hunter2-secret@host/db"})

    assert "hunter2-secret" not in str(raised.value)
    assert "POSTGRES_URL must be like postgresql://" in str(raised.value)


def test_a_problem_does_not_show_what_may_hold_a_password() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Config:
        address: str = setting("ADDRESS", "where", example="https://x", parse=parsers.url)

    with pytest.raises(ConfigProblems) as raised:
        load(Config, {"ADDRESS": "https://me:hunter2@host"})

    assert "hunter2" not in str(raised.value)


def test_what_a_configuration_finds_across_its_fields_is_a_problem_too() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Range:
        low: int = setting("LOW", "from", example="1")
        high: int = setting("HIGH", "to", example="2")

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("LOW must not be above HIGH")

    with pytest.raises(ConfigProblems) as raised:
        load(Range, {"LOW": "3", "HIGH": "2"})

    assert raised.value.problems == ["LOW must not be above HIGH"]


def test_a_configuration_can_be_built_directly_with_its_defaults() -> None:
    config = PostgresConfig(url=Secret("postgresql://a:b@c/d"))

    assert (config.pool_max, config.statement_timeout_seconds) == (8, 5)


@pytest.mark.parametrize("value", ["1:2:3", "host", "host:0", "host:70000", ":1", "ho st:1", "h:²"])
def test_what_is_no_host_and_port_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parsers.host_port_list(value)


@pytest.mark.parametrize(
    "value", ["ftp://x", "https://", "https://a@b", "https://a?b=c", "https://[::1", "http://a b"]
)
def test_what_is_no_plain_http_address_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        parsers.url(value)


def test_every_setting_is_described_with_its_default() -> None:
    described = {each.name: each for each in describe(OuterConfig)}

    assert described["OUTER_COUNT"].default is None
    assert described["OUTER_BROKERS"].default == "127.0.0.1:9092"
    assert described["OUTER_FOLDER"].default == ""
    assert described["INNER_ON"].default == "false"
    assert described["INNER_PASSWORD"].secret


def test_the_example_holds_required_settings_open_and_defaults_commented_out() -> None:
    text = render({"one": InnerConfig, "two": OuterConfig})

    assert "# --- every service ---" in text
    assert "\n# --- two ---\n" in text
    assert text.count("INNER_PASSWORD=") == 1
    assert "# what opens it. Must be set. Example: hunter2-example\nINNER_PASSWORD=\n" in text
    assert "\n# INNER_ON=false\n" in text
    assert "\nOUTER_NAME=dispatcher\n" in text
    assert all(len(line) <= 100 for line in text.splitlines())
