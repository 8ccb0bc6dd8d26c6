import pytest

from services.ingress.operations.command_line import EXIT_BAD_INPUT, main


@pytest.mark.parametrize(
    "given",
    [
        "60",
        "[]",
        '{"openai": 60}',
        '{"openai": {"requests": 60}}',
        '{"openai": {"requests_per_minute": -1}}',
        '{"openai": {"tokens_per_minute": 1.5}}',
    ],
)
def test_limits_that_would_limit_nothing_are_refused(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["account-policy", "--account", "a", "--shared-limits", given], {})
    assert ended.value.code == EXIT_BAD_INPUT
    assert "--shared-limits" in capsys.readouterr().err
