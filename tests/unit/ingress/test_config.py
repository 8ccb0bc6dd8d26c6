"""Secrets of credits are either right or absent: never silently off, never shown."""

import pytest

from services.ingress.config import CreditsConfig
from shared.config.environment import ConfigProblems, load
from shared.secret import Secret
from tests.support.credit_secrets import WEBHOOK_SECRET as SECRET


def problems(**environment: str) -> list[str]:
    with pytest.raises(ConfigProblems) as refused:
        load(CreditsConfig, environment)
    return refused.value.problems


def test_without_their_secrets_both_are_off() -> None:
    config = load(CreditsConfig, {})
    assert config.operator_token is None
    assert config.stripe_webhook_secrets == ()
    assert config.stripe_live_mode


def test_secrets_are_taken_and_not_shown() -> None:
    config = load(CreditsConfig, {"OPERATOR_TOKEN": "o" * 32, "STRIPE_WEBHOOK_SECRET": SECRET})
    assert config.operator_token == Secret("o" * 32)
    assert SECRET not in repr(config)
    assert "o" * 32 not in repr(config)


@pytest.mark.parametrize("value", ["", "  "])
def test_a_secret_that_is_set_to_nothing_is_a_problem(value: str) -> None:
    told = problems(OPERATOR_TOKEN=value, STRIPE_WEBHOOK_SECRET=value)
    assert [each.split(":")[0] for each in told] == [
        "OPERATOR_TOKEN is set to nothing",
        "STRIPE_WEBHOOK_SECRET is set to nothing",
    ]


@pytest.mark.parametrize("value", ["o" * 31, "o" * 251, "o" * 20 + " " + "o" * 20, "ö" * 40])
def test_a_weak_operator_token_is_a_problem_and_is_not_shown(value: str) -> None:
    (told,) = problems(OPERATOR_TOKEN=value)
    assert told.startswith("OPERATOR_TOKEN must be 32 to 250 characters")
    assert value not in told


def test_a_malformed_webhook_secret_is_a_problem_and_is_not_shown() -> None:
    (told,) = problems(STRIPE_WEBHOOK_SECRET="whsec_toosecret")
    assert told.startswith("STRIPE_WEBHOOK_SECRET must be a secret like whsec_")
    assert "toosecret" not in told
